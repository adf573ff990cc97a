//! The interface between the publishing operator and the streams of its worker.

use crate::output::Records;
use anyhow::Result;
use deltacart_dataflows::Epoch;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::ParallelizationContract;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::{Capability, InputCapability};

/// The capabilities that hold an epoch open on both outputs of the operator.
pub(super) struct EpochHold {
    pub(super) delivered: Capability<Epoch>,
    /// `None` once the epoch's changes are held back: then the epoch does not bound the work ahead.
    pub(super) accepted: Option<Capability<Epoch>>,
}

impl EpochHold {
    pub(super) fn epoch(&self) -> Epoch {
        *self.delivered.time()
    }

    pub(super) fn downgrade(&mut self, epoch: &Epoch) {
        self.delivered.downgrade(epoch);
        if let Some(accepted) = &mut self.accepted {
            accepted.downgrade(epoch);
        }
    }
}

/// One stream on one worker. The operator calls it once for each message and each epoch, so these calls may be
/// dynamic; what happens to a single record is not.
pub(super) trait StreamPublisher {
    /// Keeps what has arrived. Calls `hold` with each epoch that it has records of. `partition_of` says to which
    /// partition the records of a key go, if the destination has partitions.
    fn receive(
        &mut self,
        partition_of: &dyn Fn(&[u8]) -> Option<u32>,
        hold: &mut dyn FnMut(Epoch, &InputCapability<Epoch>),
    );

    /// Whether epochs may be taken before it is known what consumers hold. Nothing is published of them.
    fn is_catching_up(&self) -> bool;

    /// Whether an epoch can be taken only if another one may be handed to the sink.
    fn needs_room(&self, epoch: Epoch) -> bool;

    /// Takes the records of a closed epoch. `published` is the epoch that their records name. Returns whether the
    /// epoch is to be handed to the sink; otherwise the stream holds its records back, or has none.
    fn take_epoch(&mut self, hold: &EpochHold, published: Epoch, records: &mut Records) -> bool;

    /// Ends catching up: queues the difference to what consumers hold.
    ///
    /// # Errors
    /// When a record that consumers hold was not written by a job.
    fn end_catching_up(&mut self, published: Epoch) -> Result<()>;

    /// Queues records that were held back, if they are due or if `is_last`, and there is room. Returns their epoch, and
    /// the capability that holds the oldest epoch with such records.
    fn release(&mut self, base: Epoch, is_last: bool, has_room: bool) -> Option<(Epoch, Capability<Epoch>)>;

    /// Encodes more of what is queued, until the records have `bytes_max` bytes.
    fn encode_more(&mut self, records: &mut Records, bytes_max: usize);

    /// Whether anything queued is still to be encoded.
    fn has_more(&self) -> bool;
}

/// An input of the operator: hands over each message that has arrived, with its capability.
pub(super) type Inbox<D> = Box<dyn FnMut(&mut dyn FnMut(InputCapability<Epoch>, &mut Vec<D>))>;

/// Adds an input to the operator.
pub(super) fn inbox<'scope, D: Clone + 'static>(
    builder: &mut OperatorBuilder<'scope, Epoch>,
    stream: StreamVec<'scope, Epoch, D>,
    route: impl ParallelizationContract<Epoch, Vec<D>>,
) -> Inbox<D> {
    let mut input = builder.new_input(stream, route);
    Box::new(move |each| input.for_each(|capability, records| each(capability, records)))
}
