//! What stands below the options on the pages of `--help`.

pub(super) const MAIN: &str = "\
Examples:
  oc netobserv flows                                all nodes, five minutes, into ./output
  oc netobserv flows --pod=shop/web                 one workload, wherever its pods are
  oc netobserv packets --protocol=TCP --port=80     packets of one port
  oc netobserv metrics                              counters for Prometheus, for an hour
  oc netobserv cleanup                              remove what an interrupted capture left
  oc-netobserv flows --local                        this machine, without a cluster
  oc-netobserv doctor --local                       what this machine's kernel can do
  oc-netobserv flows --help                         the options of flows";

pub(super) const FLOWS: &str = "\
Options are written --name=value or --name value; '-' and '_' in a name are the same.

Examples:
  oc netobserv flows                                all nodes, all interfaces but lo, five minutes
  oc netobserv flows --enable_dns --enable_rtt --enable_pkt_drop --peer_ip=10.128.0.7
  oc netobserv flows --pod=shop/web                 one workload, wherever its pods are
  oc netobserv flows --ns=shop --peer-svc=dns --port=53 or --label='app in (web,db)'
  oc netobserv flows --protocol=TCP --port=8080 or --protocol=UDP
  oc netobserv flows --node-selector=kubernetes.io/os:linux --background --max-time=1h
  oc netobserv flows --dry-run                      print the calls of oc without making them
  oc-netobserv flows --local                        the same on this machine
  oc-netobserv flows --local --interfaces=/^veth/ --exclude_interfaces=veth0,lo --max-time=30s
  oc-netobserv flows --local --process=nginx        flows of one program
  oc-netobserv flows --local --sampling=50 --max-bytes=1000000 --output-dir=/tmp/capture
  oc-netobserv flows --local --action=Reject --cidr=10.0.0.0/8 or --tcp_flags=RST
  oc-netobserv flows --local --listen-port=9999     over TCP on 127.0.0.1

Ctrl-C ends a capture after the last flows are written. Then, for example:
  sqlite3 ./output/flow/TIME.db 'SELECT SrcAddr, DstAddr, sum(Bytes) FROM flow_once GROUP BY 1, 2'

In a cluster it needs permission for what 'oc netobserv flows --dry-run' shows. With --local it
needs root, or the capabilities CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN, and a kernel with BTF.";

pub(super) const PACKETS: &str = "\
At least one filter is required, to limit the load on the nodes. Options are written
--name=value or --name value.

Examples:
  oc netobserv packets --svc=shop/front --port=8080
  oc netobserv packets --protocol=TCP --port=80
  oc netobserv packets tcp,80                       the same, in the old short form
  oc netobserv packets --port=53 or --protocol=ICMP --max-time=1m
  oc netobserv packets --peer_ip=10.128.0.7 --node-selector=kubernetes.io/hostname:worker-1
  oc netobserv packets tcp,443 -w - | wireshark -k -i -
  oc-netobserv packets --local --interfaces=eth0 --port=443 --tls-keylog=$SSLKEYLOGFILE
  oc-netobserv packets --local --all --max-file-size=100000000 --max-files=10 --max-time=24h";

pub(super) const METRICS: &str = "\
Counts flows instead of keeping them: by node, namespace and workload, under the names that the
original uses (on_demand_netobserv_...). At the end a snapshot and a Grafana dashboard are written.

Examples:
  oc netobserv metrics                              on OpenShift: dashboard 'NetObserv / On Demand' in its console
  oc netobserv metrics --enable_all --ns=shop       with drops, round-trip times and DNS
  oc netobserv metrics --include_list=node_,namespace_flows
  oc netobserv metrics --to=service-monitor         for the Prometheus operator of another cluster
  oc netobserv metrics --to=annotations --background --max-time=8h
  oc-netobserv metrics --local --listen=127.0.0.1:9401
  curl http://127.0.0.1:9401/metrics";

pub(super) const DASHBOARD: &str = "\
Examples:
  oc netobserv dashboard > netobserv.json           all metrics, for Grafana 10 or later
  oc netobserv dashboard --include_list=node_,rtt   the same choice as for 'metrics'

In Grafana: Dashboards > New > Import, then choose the Prometheus data source. No cluster is
contacted. On OpenShift, 'metrics' puts its dashboard into the console by itself.";

pub(super) const WHY: &str = "\
Examples:
  oc netobserv why shop/web shop/db:5432            captures for 30 seconds, then reports
  oc netobserv why shop/web svc:shop/db:5432 --connect
  oc-netobserv why --local db.example.com:5432      from this machine, without a cluster
  oc netobserv why --from=output/flow/TIME.db       a finished capture
  oc netobserv why --from=output/flow/TIME.db shop/web shop/db:5432
  oc get pods,services,endpointslices,networkpolicies,namespaces,nodes -A -o json > objects.json
  oc netobserv why --from=output/flow/TIME.db --objects=objects.json
  oc netobserv why --from=output/flow/TIME.db --fail-on='drops>0, dns-errors>1%' \\
      --expect='shop/web -> shop/db:5432' --forbid='ns:shop -> outside' --report=junit:report.xml

Exit codes: 0; 1 when the capture fails or the file cannot be read; 2 for wrong words; 3 when a
demand is not met.";

pub(super) const POLICY: &str = "\
Examples:
  oc get pods,services,namespaces,nodes -A -o json > objects.json
  oc netobserv policy --from=output/flow/TIME.db --objects=objects.json --ns=shop > policies.yaml
  oc netobserv policy --from=output/flow/TIME.db --objects=objects.json --check=policies.yaml

Exit codes: 0; 1 when a file cannot be read; 2 for wrong words; 3 when --check finds something.";

pub(super) const SUMMARY: &str = "\
Examples:
  oc netobserv summary                                  the newest capture in ./output/flow
  oc netobserv summary output/flow/TIME.db
  oc netobserv summary output/flow/TIME.json -o json
  oc netobserv summary output/pcap/TIME.pcapng

Captures of the Go program are read too. Exit codes: 0; 1 when the file cannot be read; 2 for wrong words.";

pub(super) const QUERY: &str = "\
Examples:
  oc netobserv query                                    list the questions
  oc netobserv query top                                the largest conversations of the newest capture
  oc netobserv query output/flow/TIME.db drops --limit=5
  oc netobserv query output/flow/TIME.db dns -o csv > dns.csv
  oc netobserv query 'port:443 and rtt>5ms'             the records that match a condition
  oc netobserv query output/flow/TIME.db 'ns:shop and drops>0' --by=client,server,port --sort=drops
  oc netobserv query output/flow/TIME.db --sql='SELECT client, drops FROM conversation WHERE drops > 0' -o json

Exit codes: 0; 1 when the file cannot be read or the query is wrong; 2 for wrong words.";

pub(super) const REPLAY: &str = "\
Examples:
  oc netobserv replay                                   the newest capture in ./output/flow
  oc netobserv replay output/flow/TIME.db --from=12:03:00 --speed=10

Space plays and pauses, + and - change the speed, [ and ] jump, Ctrl-N goes to the next problem, q leaves; ? lists all keys.
Exit codes: 0; 1 when the file cannot be read or there is no terminal; 2 for wrong words.";

pub(super) const DIFF: &str = "\
Examples:
  oc netobserv diff before.db after.db
  oc netobserv diff before.db after.db --fail-on=new-peers,drops
  oc netobserv diff before.db after.db -o json

Clients and servers are compared by workload and port, because pods and their addresses change.
Exit codes: 0; 1 when a file cannot be read; 2 for wrong words; 3 when --fail-on finds something.";

pub(super) const REPORT: &str = "\
Examples:
  oc netobserv report                                   the newest capture; its report is next to it
  oc netobserv report output/flow/TIME.db -o incident.html

The file needs nothing from elsewhere: it can be mailed, and opened without a network.
Exit codes: 0; 1 when a file cannot be read or written; 2 for wrong words.";

pub(super) const EXPORT: &str = "\
Examples:
  oc netobserv export -o parquet:flows                  the newest capture, as flows/dt=.../hour=.../*.parquet
  oc netobserv export output/flow/TIME.db -o csv:flows.csv
  oc netobserv export output/flow/TIME.json -o ndjson | jq .SrcAddr

Exit codes: 0; 1 when a file cannot be read or written; 2 for wrong words.";

pub(super) const MERGE: &str = "\
Examples:
  oc netobserv merge monday.db tuesday.db -o both.db
  oc netobserv merge node-a.pcapng node-b.pcapng -o both.pcapng

Losses are added. What two captures of flows saw at the same time counts once.
Exit codes: 0; 1 when a file cannot be read or written; 2 for wrong words.";

pub(super) const REDACT: &str = "\
Examples:
  oc netobserv redact                                   the newest capture; its copy is next to it
  oc netobserv redact output/flow/TIME.db output/pcap/TIME.pcapng -o to-vendor/

Files of one command get the same replacements, those of the next command others. Packets keep their
headers only. Exit codes: 0; 1 when a file cannot be read or written; 2 for wrong words.";

pub(super) const MCP: &str = "\
Examples:
  oc-netobserv mcp                                  the command to configure in the assistant
  oc-netobserv mcp < requests                       one JSON-RPC message on each line, as tests send them

It reads captures in ./output/flow and files that are named, changes nothing, and opens no connection.";

/// What stands below the options of the commands that have no longer text of their own.
pub(super) const OTHERS: [(&str, &str); 9] = [
    (
        "follow",
        "\
Examples:
  oc netobserv follow
  oc netobserv follow -n my-capture                 the capture in that namespace",
    ),
    (
        "stop",
        "\
Examples:
  oc netobserv stop                                 followed by: oc netobserv copy
  oc netobserv stop -n my-capture",
    ),
    (
        "copy",
        "\
Examples:
  oc netobserv copy                                 into ./output; resumes an interrupted transfer
  oc netobserv copy --output-dir=/tmp/capture",
    ),
    (
        "cleanup",
        "\
Examples:
  oc netobserv cleanup                              from any machine that can reach the cluster
  oc netobserv cleanup --dry-run                    print the calls of oc without making them",
    ),
    (
        "doctor",
        "\
Examples:
  oc-netobserv doctor --local                       exit code 1 if flows cannot be captured
  oc-netobserv doctor --local -v                    print how the agent is started",
    ),
    (
        "images",
        "\
Examples:
  oc netobserv images                               one reference per line, to pull or scan
  oc netobserv images -o mirror --registry=registry.example.com:5000 > mapping
  oc image mirror --filename=mapping                copy them there
  oc netobserv images -o idms --registry=registry.example.com:5000 | oc apply -f -

A capture pulls them from there with the same --registry, or with NETOBSERV_REGISTRY set.",
    ),
    (
        "version",
        "\
Examples:
  oc netobserv version                              one line, for scripts
  oc netobserv version -v                           followed by the images of a capture",
    ),
    (
        "completion",
        "\
Examples:
  oc-netobserv completion bash > ~/.local/share/bash-completion/completions/oc-netobserv
  oc-netobserv completion zsh > ~/.zfunc/_oc-netobserv",
    ),
    (
        "man",
        "\
Examples:
  oc-netobserv man | man -l -
  oc-netobserv man flows > oc-netobserv-flows.1",
    ),
];
