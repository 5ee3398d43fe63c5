//! An agent or a pipeline, as the collector sees it.

use std::path::Path;
use std::time::Duration;

use netobserv_wire::genericmap;
use netobserv_wire::pbflow::collector_client::CollectorClient;
use netobserv_wire::pbflow::filters_client::FiltersClient;
use netobserv_wire::pbflow::{AgentStatus, CollectorReply, Record, Records};
use prost::Message;
use prost::bytes::{Buf, BufMut, Bytes};
use tokio::runtime::Runtime;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

/// A connection, for tests that do one thing after the other.
pub struct Client {
    runtime: Runtime,
    channel: Channel,
}

impl Client {
    /// Connects to a socket.
    #[track_caller]
    pub fn connect(socket: &Path) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let channel = runtime.block_on(connect(socket));
        Self { runtime, channel }
    }

    /// Sends a batch as the agent of this node; `last` says that nothing follows.
    pub fn send(&self, node: &str, entries: Vec<Record>, last: bool) -> Result<CollectorReply, Status> {
        let agent = AgentStatus { node: node.into(), last, ..AgentStatus::default() };
        self.send_records(Records { entries, agent: Some(agent), sequence: 0 })
    }

    /// Sends a batch.
    pub fn send_records(&self, records: Records) -> Result<CollectorReply, Status> {
        let mut client = CollectorClient::new(self.channel.clone());
        self.runtime.block_on(client.send(records)).map(tonic::Response::into_inner)
    }

    /// Waits for another filter than that of `number`, as the agent of this node.
    pub fn wait(&self, node: &str, number: u64) -> Result<CollectorReply, Status> {
        let status = AgentStatus { node: node.into(), filter: number, ..AgentStatus::default() };
        let mut client = FiltersClient::new(self.channel.clone());
        self.runtime.block_on(client.wait(status)).map(tonic::Response::into_inner)
    }

    /// Sends a record as a flowlogs-pipeline does.
    pub fn send_generic(&self, json: &str) -> Result<(), Status> {
        let any = prost_types::Any { type_url: String::new(), value: json.as_bytes().to_vec() };
        let flow = genericmap::Flow { generic_map: Some(any) };
        let mut client = genericmap::collector_client::CollectorClient::new(self.channel.clone());
        self.runtime.block_on(client.send(flow)).map(drop)
    }

    /// Sends many encoded batches at the same time and returns the answers.
    pub fn send_all(&self, batches: Vec<Bytes>) -> Vec<Result<CollectorReply, Status>> {
        self.runtime.block_on(async {
            let sends = batches.into_iter().map(|batch| tokio::spawn(send_encoded(self.channel.clone(), batch)));
            let mut answers = Vec::new();
            for send in sends.collect::<Vec<_>>() {
                answers.push(send.await.expect("a send"));
            }
            answers
        })
    }
}

/// Connects to a socket.
pub async fn connect(socket: &Path) -> Channel {
    let endpoint = Endpoint::from_shared(format!("unix:{}", socket.display())).expect("an address");
    endpoint.connect_timeout(Duration::from_secs(5)).connect().await.expect("a collector that listens")
}

/// Sends a batch that is encoded already.
pub async fn send_encoded(channel: Channel, batch: Bytes) -> Result<CollectorReply, Status> {
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let path = PathAndQuery::from_static("/pbflow.Collector/Send");
    client.unary(Request::new(batch), path, Encoded).await.map(tonic::Response::into_inner)
}

/// Messages go as they are, answers are decoded.
struct Encoded;

impl Codec for Encoded {
    type Encode = Bytes;
    type Decode = CollectorReply;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Encoded {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, batch: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(batch);
        Ok(())
    }
}

impl Decoder for Encoded {
    type Item = CollectorReply;
    type Error = Status;

    fn decode(&mut self, answer: &mut DecodeBuf<'_>) -> Result<Option<CollectorReply>, Status> {
        let bytes = answer.copy_to_bytes(answer.remaining());
        CollectorReply::decode(bytes).map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}
