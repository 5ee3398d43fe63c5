//! Makes messages of the batches that wait.

use std::sync::Arc;

use netobserv_wire::{
    netobserv::{Encoding, PacketBatch, packets_client::PacketsClient},
    packet,
    pbflow::{AgentStatus, CollectorReply},
};
use tonic::{Response, Status, transport::Channel};
use tracing::warn;

use super::{
    causes::CauseList,
    queue::{Pending, Queue},
    table::{InterfaceTable, Tally},
};
use crate::export::{Lost, Outbox};

/// Makes messages of what waits in a queue.
pub struct PacketOutbox {
    /// Where the batches come from.
    pub queue: Arc<Queue>,
    /// Where their packets were seen.
    pub table: InterfaceTable,
    /// Why they were dropped.
    pub causes: CauseList,
    /// How they travel.
    pub encoding: Encoding,
    /// What the message on its way holds.
    pub sending: Vec<(u32, Tally)>,
}

impl Outbox for PacketOutbox {
    type Message = PacketBatch;

    async fn changed(&self) {
        self.queue.changed().await;
    }

    fn take(&mut self) -> (PacketBatch, bool) {
        let (batch, done) = self.queue.take();
        let Pending { payload, tallies } = batch.unwrap_or_default();
        self.sending = tallies;
        let packets = self.sending.iter().map(|(_, tally)| tally.packets).sum::<u64>() as u32;
        let mut message = PacketBatch { packets, causes: self.causes.names(), ..Default::default() };
        if let Err(error) = packet::seal(&mut message, payload, self.encoding) {
            // zstd has no memory left: the packets are counted as lost, and the next batch may be luckier.
            warn!("cannot compress packets: {error}");
            self.queue.lose(&Pending { payload: vec![], tallies: std::mem::take(&mut self.sending) });
            message = PacketBatch::default();
        }
        // After what was lost is counted.
        message.interfaces = self.table.all();
        (message, done)
    }

    fn report(&self, status: &mut AgentStatus) {
        let lost = self.queue.lost();
        (status.lost_export_packets, status.lost_export_bytes) = (lost.packets, lost.bytes);
    }

    fn sign(message: &mut PacketBatch, agent: AgentStatus, sequence: u64) {
        (message.agent, message.sequence) = (Some(agent), sequence);
    }

    async fn post(channel: Channel, message: PacketBatch) -> Result<Response<CollectorReply>, Status> {
        PacketsClient::new(channel).send(message).await
    }

    fn give_up(&mut self, _: PacketBatch) -> Option<Lost> {
        let sent = Pending { payload: vec![], tallies: std::mem::take(&mut self.sending) };
        self.queue.lose(&sent);
        while let (Some(batch), _) = self.queue.take() {
            self.queue.lose(&batch);
        }
        let count = self.queue.lost().packets;
        (count > 0).then_some(Lost { count, what: "packets" })
    }
}
