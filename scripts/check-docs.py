#!/usr/bin/env python3
"""Holds the documents against what is there: links, files, options, and every command that they show.

    check-docs.py PLUGIN      the plugin that was built; the collector lies beside it

Commands of the plugin are run: those that would touch a cluster with --dry-run, those of this machine with an agent that
is not there (words that are wrong end with 2 before that). Questions to a database are asked of one that is made from the
scenes of the screen's tests, and have to find something. What is run by nothing stands in ELSEWHERE, with who runs it or
why nobody does.
"""

import json
import os
import re
import shlex
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
# They name options and commands of the original, of other tools, or of the past.
OF_OTHERS = {"contract.md", "comparison.md", "CHANGELOG.md"}

# Beginnings of commands that are not run here.
ELSEWHERE = {
    "scripts/": "each script has a test of its own, or is one; that it is there is checked",
    "./mirror.sh": "scripts/test-airgap.sh",
    "tar ": "scripts/test-install.sh and scripts/test-airgap.sh unpack the same files",
    "cd ": "only goes somewhere",
    "export ": "only sets something",
    "sha256sum ": "scripts/test-install.sh checks the same list",
    "sudo install ": "scripts/test-install.sh runs the programs from where they were unpacked",
    "sudo ln ": "scripts/test-install.sh makes the same link",
    "sudo dpkg ": "scripts/test-install.sh, into a folder instead of /",
    "sudo rpm ": "scripts/test-install.sh, into a folder instead of /",
    "kubectl krew ": "scripts/test-install.sh, by krew or by the steps that it documents",
    "cargo build": "scripts/test.sh builds; the profile is the only difference",
    "cargo test": "scripts/test.sh",
    "cargo bench": "scripts/bench.sh",
    "UPDATE_DOCS=1 ": "writes what a test checks",
    "source <(": "tests/cli_completion.rs runs the script in bash",
    "oc image mirror ": "needs a registry and a real oc; scripts/test-airgap.sh pushes the same images",
    "oc apply ": "needs a cluster; tests/yaml_schema.rs checks the objects",
    "oc get ": "needs a cluster",
    "oc describe ": "needs a cluster",
    "oc label ": "needs a cluster",
    "oc delete ": "needs a cluster",
    "oc auth ": "needs a cluster",
    "DB=": "only sets something",
    "jq ": "the JSON has no database to ask; tests/local_path.rs reads such files",
    "tshark ": "scripts/demo.sh and tests/local_packets.rs read files with it",
    "wireshark ": "needs a screen",
    "cp ": "only copies something",
    "sysctl ": "changes the machine",
    "journalctl ": "needs the machine's journal",
    "dmesg": "needs the machine's log",
    "git ": "only fetches the repository",
    "apt-get ": "scripts/test.sh installs what it needs in the same way",
    "cosign ": "needs a release",
}
IN_CLUSTER = {"flows", "packets", "metrics", "follow", "stop", "copy", "cleanup"}
OURS = re.compile(r"^(?:sudo )?(?:\S*/)?(?:oc netobserv|kubectl netobserv|oc-netobserv|kubectl-netobserv)\b")
PATHS = re.compile(r"^(?:scripts|src|docs|yaml|tests|collector|ebpf)/[\w./-]*\w$")

mistakes = []
counts = {"links": 0, "files": 0, "messages": 0, "rights": 0, "options": 0, "commands": 0, "questions": 0}


def wrong(path, what):
    mistakes.append(f"{path.relative_to(ROOT)}: {what}")


# ---- text ----


def blocks(text):
    """Code: of fences their language and text, of indented lines the language ''."""
    fenced = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)
    for language, body in fenced.findall(text):
        yield language, body
    indented, rest = [], fenced.sub("", text)
    for line in rest.split("\n"):
        if line.startswith("    "):
            indented.append(line[4:])
    yield "", "\n".join(indented)


def prose(text):
    return re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)


def slug(heading):
    """GitHub's name of a heading."""
    plain = re.sub(r"[`*]|\[([^]]*)\]\([^)]*\)", r"\1", heading.strip())
    return re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")


def anchors(path):
    return {slug(heading) for heading in re.findall(r"^#+ (.*)$", prose(path.read_text()), re.M)}


def check_links(path, text):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(text)):
        counts["links"] += 1
        if re.match(r"https://[\w.-]+(/\S*)?$", target):
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name) if name else path
        if not file.exists():
            wrong(path, f"a link to {target}, which is not there")
        elif anchor and file.suffix == ".md" and anchor not in anchors(file):
            wrong(path, f"a link to {target}: no such heading")


def check_files(path, text):
    for name in re.findall(r"`([^`\n]+)`", prose(text)):
        if PATHS.match(name):
            counts["files"] += 1
            if not (ROOT / name).exists():
                wrong(path, f"`{name}` is not there")


def sources():
    """What the programs can say: their sources, with whatever is filled in left out and lines of a text joined."""
    files = [file for folder in ["src", "ebpf/agent/src", "collector/src"] for file in (ROOT / folder).rglob("*.rs")]
    text = "\n".join(file.read_text() for file in files)
    return re.sub(r"\{[^{}\n]*\}", "...", re.sub(r"\\\n\s*", "", text))


def check_messages(path, text, said):
    """The first cells of the tables by message: their longest words that are always the same are in the sources."""
    for message in re.findall(r"^\| `([^`]+ [^`]+)` \|", text, re.M):
        counts["messages"] += 1
        parts = re.split(r"\.\.\.|(?<!\w)(?:--X|[A-Z]|DIR|NAME|netobserv-agent|get-\w+|\d+)(?!\w)|the agent|=true|/sys/\S+|packets$", message)
        longest = max((part.strip() for part in parts), key=len)
        if longest not in said:
            wrong(path, f"nothing says '{longest}'")


def check_rights(path, text):
    """The table of rights is that of the program."""
    source = (ROOT / "src/preflight/permissions.rs").read_text()
    lists = dict(re.findall(r"^const (\w+): &\[&str\] = &\[([^]]*)\]", source, re.M))
    groups = dict(re.findall(r'^const (\w+): &str = "([^"]+)"', source, re.M))
    body = re.sub(r"\s+", " ", source[source.index("const NEEDS") : source.index("impl Need")])
    short = re.findall(r'need\( ?("[^"]*"|\w+), "(\w+)",()\s*(?:&\[([^]]*)\]|(\w+))', body)
    long = re.findall(r'Need \{ group: ("[^"]*"|\w+), resource: "(\w+)", part: Some\("(\w+)"\), verbs: &\[([^]]*)\]()', body)
    needs = set()
    for group, resource, part, verbs, named in short + long:
        group = (groups.get(group) or group.strip('"')) or "core"
        verbs = ", ".join(re.findall(r"\w+", verbs or lists[named]))
        needs.add((group, f"{resource}/{part}" if part else resource, verbs))
    told = set(re.findall(r"^\| ([\w.]+) \| `([\w/]+)` \| ([\w, ]+) \|", text, re.M))
    counts["rights"] += len(told)
    for row in needs ^ told:
        wrong(path, f"{row} is only in the {'program' if row in needs else 'table'}")


# ---- options ----


def known_options(plugin):
    pages = [run_plugin(plugin, ["help"]).stdout]
    commands = run_plugin(plugin, ["__complete", ""]).stdout.split("\n")
    pages += [run_plugin(plugin, ["help", name]).stdout for name in commands if name and name[0] != ":"]
    collector = plugin.parent / "netobserv-collector"
    for name in ["get-flows", "get-packets", "get-metrics"]:
        pages.append(subprocess.run([collector, name, "--help"], capture_output=True, text=True, check=True).stdout)
    pages += [script.read_text() for script in (ROOT / "scripts").iterdir() if script.is_file()]
    names = {name.replace("_", "-") for page in pages for name in re.findall(r"--([a-z][a-z0-9_-]*)", page)}
    # Other spellings that the plugin takes: src/cli.rs and src/cli/ call them aliases.
    sources = [ROOT / "src/cli.rs", *(ROOT / "src/cli").glob("*.rs")]
    aliases = re.findall(r"alias(?:es)? = \[?([^\])]*)", "".join(source.read_text() for source in sources))
    return names | {name.replace("_", "-") for found in aliases for name in re.findall(r'"([\w-]+)"', found)}


def check_options(path, text, known):
    for code in re.findall(r"`([^`\n]+)`", prose(text)):
        for name in re.findall(r"(?:^|[\s(])--([a-z][a-z0-9_-]*)", code):
            counts["options"] += 1
            if name.replace("_", "-").rstrip("-") not in known:
                wrong(path, f"--{name} is no option of the programs here")


# ---- commands ----


def run_plugin(plugin, words):
    with tempfile.TemporaryDirectory() as folder:
        keys = Path(folder) / "keys"
        keys.write_text("")
        env = {name: value for name, value in os.environ.items() if not name.startswith("NETOBSERV_")}
        env |= {"NETOBSERV_K8S_CLI": "/bin/true", "NETOBSERV_AGENT_BIN": "/nonexistent", "SSLKEYLOGFILE": str(keys)}
        words = [word.replace("$SSLKEYLOGFILE", str(keys)) for word in words]
        if any(word.startswith("--programs=") for word in words):
            words = [word if not word.startswith("--programs=") else f"--programs={image(Path(folder))}" for word in words]
        return subprocess.run([plugin, *words], cwd=folder, env=env, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)


def image(folder):
    """An image of programs that do nothing."""
    for program in ("netobserv-agent", "netobserv-collector"):
        (folder / program).write_text("")
    archive = folder / "image.oci.tar"
    packer = [sys.executable, ROOT / "scripts/oci-image.py", "--name=x:1", f"--output={archive}", f"amd64={folder}"]
    subprocess.run(packer, env={"SOURCE_DATE_EPOCH": "0"}, stdout=subprocess.DEVNULL, check=True)
    return archive


def commands(body, fenced):
    """Commands of a block; one goes on while a quote is open or a line ends with a backslash. Indented lines may be
    anything: a command begins with the name of a program that is checked."""
    waiting = ""
    for line in body.split("\n"):
        if not (fenced or waiting or OURS.match(line) or line.startswith(("sqlite3 ", "scripts/"))):
            continue
        waiting += ("\n" if waiting else "") + line
        if waiting.endswith("\\"):
            waiting = waiting[:-1]
            continue
        try:
            shlex.split(waiting, comments=True)
        except ValueError:
            continue
        if waiting.strip() and not waiting.lstrip().startswith("#"):
            yield waiting.strip()
        waiting = ""


def first_words(command):
    """The words of the first program of a pipeline."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars="|><&;")
    lexer.whitespace_split, lexer.commenters = True, "#"
    words = []
    for word in lexer:
        if word and set(word) <= set("|><&;"):
            break
        words.append(word)
    return words


def check_plugin(path, plugin, command):
    # An explanation stands far behind its command.
    words = first_words(re.split(r"\s{3,}", OURS.sub("", command))[0])
    counts["commands"] += 1
    name = words[0] if words else ""
    local = any(word.startswith("--local") for word in words)
    dry = name in IN_CLUSTER and not local and "--help" not in words
    done = run_plugin(plugin, words + (["--dry-run"] if dry else []))
    # A command that reads a finished capture has no file here: its words must be right.
    reads = name in ("why", "policy", "summary", "query", "replay", "diff", "report", "export", "merge", "redact")
    good = done.returncode in (0, 1) if local or reads else done.returncode == 0
    if not good:
        wrong(path, f"`{command}` ends with {done.returncode}: {done.stderr.strip()}")


def database():
    """The flows of the scenes, in the columns of docs/fields.md."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (\w+) \|", (ROOT / "docs/fields.md").read_text(), re.M)
    db = sqlite3.connect(":memory:")
    db.execute(f"CREATE TABLE flow ({', '.join(f'{name} {kind}' for name, _, kind in rows)}, Other TEXT)")
    db.execute("CREATE TABLE capture (name TEXT PRIMARY KEY, value)")
    db.execute("INSERT INTO capture VALUES ('flows', 300), ('lost_kernel_packets', 2), ('lost_json_flows', 0)")
    names = {name for name, _, _ in rows}
    for scene in sorted((ROOT / "collector/tests/scenes").glob("*.json")):
        for flow in json.loads(scene.read_text()):
            known = {name: value for name, value in flow.items() if name in names}
            values = [json.dumps(value) if isinstance(value, (list, dict)) else value for value in known.values()]
            db.execute(f"INSERT INTO flow ({', '.join(known)}) VALUES ({', '.join('?' * len(known))})", values)
    views = (ROOT / "collector/src/sink/sqlite/views.rs").read_text()
    db.execute(re.search(r"CREATE VIEW flow_once AS [^;]*", views)[0])
    # The scenes have no conversations: a row of ones, in the columns of that view.
    columns = re.findall(r" AS (\w+)", views[views.index("CREATE VIEW conversation") :].split("GROUP BY")[0])[1:]
    db.execute(f"CREATE TABLE conversation AS SELECT {', '.join(f'1 AS {name}' for name in columns)}")
    return db


def ask(path, db, sql):
    counts["questions"] += 1
    try:
        found = db.execute(sql).fetchmany(20)
    except sqlite3.Error as error:
        wrong(path, f"{error} in: {sql}")
        return
    if not found:
        wrong(path, f"nothing is found by: {sql}")


def check_command(path, plugin, db, command):
    if OURS.match(command):
        check_plugin(path, plugin, command)
    elif command.startswith("sqlite3 "):
        ask(path, db, next(word for word in first_words(command) if word.upper().startswith("SELECT")))
    elif command.startswith("scripts/"):
        counts["commands"] += 1
        if not (ROOT / command.split()[0]).exists():
            wrong(path, f"{command.split()[0]} is not there")
    elif not any(command.removeprefix("sudo ").startswith(start) or command.startswith(start) for start in ELSEWHERE):
        wrong(path, f"nobody runs `{command}`: give it a test, or a place in ELSEWHERE")
    else:
        counts["commands"] += 1


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: check-docs.py PLUGIN")
    plugin = Path(sys.argv[1]).resolve()
    known, db, said = known_options(plugin), database(), sources()
    for path in DOCUMENTS:
        text = path.read_text()
        check_links(path, text)
        check_files(path, text)
        if path.name == "permissions.md":
            check_rights(path, text)
        if path.name == "troubleshooting.md":
            check_messages(path, text, said)
        if path.name in OF_OTHERS:
            continue
        check_options(path, text, known)
        for language, body in blocks(text):
            if language == "sql":
                ask(path, db, body)
            elif language in ("sh", "bash", "console", ""):
                for command in commands(body, language != ""):
                    check_command(path, plugin, db, command)
    for what in mistakes:
        print(f"error: {what}", file=sys.stderr)
    print(f"{len(DOCUMENTS)} documents: " + ", ".join(f"{number} {what}" for what, number in counts.items()))
    sys.exit(1 if mistakes else 0)


if __name__ == "__main__":
    main()
