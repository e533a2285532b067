//! Bounds what unfinished gRPC messages may take: memory in all, and time for each.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hyper::body::Frame;
use tokio::time::{Instant, Sleep};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::Request;
use tower::Layer;

use crate::numbers::to_usize;
use crate::{ByteBudget, ByteBudgetPermit};

/// The bytes that all messages of a port may take together from their first byte until the service asks for
/// the next message of their stream.
const UNFINISHED_BYTES: usize = 16 * 1024 * 1024;

/// A message of up to this many bytes needs no memory of the budget, so that a probe of grpc.health.v1 never
/// waits. The number of streams bounds what these messages take.
const SMALL: usize = 4 * 1024;

/// gRPC's own limit; tonic refuses a longer message by its header.
const LONGEST: usize = 4 * 1024 * 1024;

/// How long a message may take to arrive, without the time that it waits for memory.
const FINISH_WITHIN: Duration = Duration::from_secs(30);

/// How long a message may take to arrive while others wait for its memory, at least.
const YIELD_AFTER: Duration = Duration::from_secs(2);

/// The bytes before a message: whether it is compressed, and its length.
const HEADER: usize = 5;

/// The limits of one port; clones share them.
#[derive(Clone, Debug)]
pub(super) struct MessageLimits {
    budget: ByteBudget,
    /// Messages that wait for memory.
    waiting: Arc<AtomicUsize>,
}

impl MessageLimits {
    pub(super) fn new() -> Self {
        Self { budget: ByteBudget::new(UNFINISHED_BYTES), waiting: Arc::default() }
    }

    /// Waits for memory for `bytes` bytes.
    async fn acquire(self, bytes: usize) -> ByteBudgetPermit {
        let mut acquired = Box::pin(self.budget.acquire(bytes));
        if let Some(permit) = acquired.as_mut().now_or_never() {
            return permit;
        }
        let _waiting = Waiting::new(&self.waiting);
        acquired.await
    }
}

/// Counts as waiting until it is dropped.
struct Waiting<'w>(&'w AtomicUsize);

impl<'w> Waiting<'w> {
    fn new(waiting: &'w AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<S> Layer<S> for MessageLimits {
    type Service = LimitedService<S>;

    fn layer(&self, service: S) -> LimitedService<S> {
        LimitedService { service, limits: self.clone() }
    }
}

/// A service whose request bodies are limited.
#[derive(Clone, Debug)]
pub(super) struct LimitedService<S> {
    service: S,
    limits: MessageLimits,
}

impl<S: Service<Request<Body>>> Service<Request<Body>> for LimitedService<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> S::Future {
        let limits = self.limits.clone();
        self.service.call(request.map(|body| Body::new(LimitedBody::new(body, limits))))
    }
}

/// A request's body that passes on the bytes of a message only once there is memory for the whole message.
/// Bytes that wait for it stay in HTTP/2's window, so the peer stops sending.
struct LimitedBody<B> {
    inner: B,
    limits: MessageLimits,
    /// Bytes that have arrived and are not passed on yet: no more than one frame and the beginning of a
    /// header.
    held: Bytes,
    /// Bytes of the current message that are still to be passed on, with its header; 0 between messages.
    left: usize,
    /// The memory of the current message, or of the one that the service got last and may not have handled
    /// yet.
    memory: Option<ByteBudgetPermit>,
    acquiring: Option<BoxFuture<'static, ByteBudgetPermit>>,
    /// Runs while a message has begun and the peer sends nothing.
    patience: Option<Patience>,
}

struct Patience {
    since: Instant,
    next_look: Pin<Box<Sleep>>,
}

impl<B> LimitedBody<B> {
    fn new(inner: B, limits: MessageLimits) -> Self {
        Self { inner, limits, held: Bytes::new(), left: 0, memory: None, acquiring: None, patience: None }
    }

    /// Takes memory for the message whose header is held, and opens it. Pending while there is none.
    fn poll_open(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(length) = self.held.get(1..HEADER) else { return Poll::Ready(()) };
        let length = to_usize(length.iter().fold(0_u32, |length, byte| length << 8 | u32::from(*byte)));
        if length > SMALL && length <= LONGEST {
            let limits = &self.limits;
            let acquiring = self.acquiring.get_or_insert_with(|| limits.clone().acquire(length).boxed());
            self.memory = Some(ready!(acquiring.poll_unpin(context)));
            self.acquiring = None;
            self.patience = None;
        }
        self.left = HEADER + length;
        Poll::Ready(())
    }

    /// The next bytes that may be passed on, as far as they have arrived.
    fn pass_on(&mut self) -> Option<Bytes> {
        if self.left == 0 {
            return None;
        }
        let passed = self.held.split_to(self.left.min(self.held.len()));
        self.left -= passed.len();
        if self.left == 0 {
            self.patience = None;
        }
        (!passed.is_empty()).then_some(passed)
    }

    fn hold(&mut self, arrived: Bytes) {
        if self.held.is_empty() {
            self.held = arrived;
        } else {
            let mut joined = BytesMut::with_capacity(self.held.len() + arrived.len());
            joined.extend_from_slice(&self.held);
            joined.extend_from_slice(&arrived);
            self.held = joined.freeze();
        }
    }

    /// Ready with the reason when the peer has taken too long to finish its message.
    fn poll_patience(&mut self, context: &mut Context<'_>) -> Poll<Status> {
        if self.left == 0 && self.held.is_empty() {
            return Poll::Pending;
        }
        let patience = self.patience.get_or_insert_with(|| Patience {
            since: Instant::now(),
            next_look: Box::pin(tokio::time::sleep(YIELD_AFTER)),
        });
        loop {
            ready!(patience.next_look.poll_unpin(context));
            let others_wait = self.memory.is_some() && self.limits.waiting.load(Ordering::Relaxed) > 0;
            if others_wait || patience.since.elapsed() >= FINISH_WITHIN {
                return Poll::Ready(Status::deadline_exceeded("a message took too long to arrive"));
            }
            patience.next_look.as_mut().reset(Instant::now() + YIELD_AFTER);
        }
    }
}

impl<B> hyper::body::Body for LimitedBody<B>
where
    B: hyper::body::Body<Data = Bytes, Error = Status> + Unpin,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if this.left == 0 && this.acquiring.is_none() {
            // The service asks for more, so it has taken over the last message.
            this.memory = None;
        }
        loop {
            if this.left == 0 && this.held.len() >= HEADER {
                ready!(this.poll_open(context));
            }
            if let Some(passed) = this.pass_on() {
                return Poll::Ready(Some(Ok(Frame::data(passed))));
            }
            match Pin::new(&mut this.inner).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(arrived) => this.hold(arrived),
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                Poll::Ready(None) if this.held.has_remaining() => {
                    let cut_off = std::mem::take(&mut this.held);
                    return Poll::Ready(Some(Ok(Frame::data(cut_off))));
                }
                Poll::Ready(end) => return Poll::Ready(end),
                Poll::Pending => return this.poll_patience(context).map(|late| Some(Err(late))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::body::Body as _;
    use proptest::prelude::*;
    use std::collections::VecDeque;
    use tokio::sync::mpsc;

    /// What a peer sends, frame by frame; silence between frames.
    struct Scripted {
        frames: mpsc::UnboundedReceiver<Bytes>,
    }

    impl hyper::body::Body for Scripted {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            self.frames.poll_recv(context).map(|frame| frame.map(|frame| Ok(Frame::data(frame))))
        }
    }

    struct Peer {
        sender: mpsc::UnboundedSender<Bytes>,
        body: LimitedBody<Scripted>,
    }

    impl Peer {
        fn of(limits: &MessageLimits) -> Self {
            let (sender, frames) = mpsc::unbounded_channel();
            Self { sender, body: LimitedBody::new(Scripted { frames }, limits.clone()) }
        }

        fn send(&self, bytes: impl Into<Bytes>) {
            self.sender.send(bytes.into()).unwrap();
        }

        /// The next bytes that the service gets; `None` at the end.
        async fn next(&mut self) -> Option<Result<Bytes, Status>> {
            let frame = std::future::poll_fn(|context| Pin::new(&mut self.body).poll_frame(context)).await;
            frame.map(|frame| frame.map(|frame| frame.into_data().unwrap()))
        }

        /// Takes what comes within a time; gives the error with which the body ends, if it does.
        async fn refused_within(&mut self, time: Duration) -> Option<Status> {
            let until = Instant::now() + time;
            loop {
                match tokio::time::timeout_at(until, self.next()).await {
                    Err(_) => return None,
                    Ok(next) => match next.unwrap() {
                        Ok(_) => {}
                        Err(refused) => return Some(refused),
                    },
                }
            }
        }

        async fn bytes(&mut self) -> Bytes {
            self.next().await.unwrap().unwrap()
        }
    }

    fn header(length: usize) -> Vec<u8> {
        let mut header = vec![0];
        header.extend(u32::try_from(length).unwrap().to_be_bytes());
        header
    }

    fn message(length: usize) -> Vec<u8> {
        let mut message = header(length);
        message.resize(HEADER + length, 7);
        message
    }

    #[tokio::test(start_paused = true)]
    async fn half_a_message_ends_its_stream_and_silence_between_messages_does_not() {
        let mut peer = Peer::of(&MessageLimits::new());
        let idle = tokio::time::timeout(Duration::from_hours(1), peer.next()).await;
        assert!(idle.is_err(), "nothing happens on an idle stream");
        peer.send(message(10));
        assert_eq!(peer.bytes().await.len(), 15);
        assert!(tokio::time::timeout(Duration::from_hours(1), peer.next()).await.is_err());
        peer.send(message(10_000)[..9_000].to_vec());
        assert_eq!(peer.bytes().await.len(), 9_000);
        let begun = Instant::now();
        let late = peer.next().await.unwrap().unwrap_err();
        assert_eq!(late.code(), tonic::Code::DeadlineExceeded);
        assert!(begun.elapsed() >= FINISH_WITHIN && begun.elapsed() < FINISH_WITHIN + YIELD_AFTER * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_drip_gets_no_more_time_and_neither_does_half_a_header() {
        for length in [10_000, 0] {
            let mut peer = Peer::of(&MessageLimits::new());
            let mut drip = message(length).into_iter();
            let begun = Instant::now();
            let late = loop {
                // The whole header never comes where the message is empty.
                if length > 0 || drip.len() > 1 {
                    peer.send(vec![drip.next().unwrap()]);
                }
                if let Some(late) = peer.refused_within(Duration::from_secs(1)).await {
                    break late;
                }
            };
            assert_eq!(late.code(), tonic::Code::DeadlineExceeded);
            assert!(begun.elapsed() < FINISH_WITHIN * 2, "{length}: {:?}", begun.elapsed());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn unfinished_messages_of_all_streams_share_one_budget_and_small_ones_need_none() {
        let limits = MessageLimits::new();
        let mut holders: Vec<_> = (0..4).map(|_| Peer::of(&limits)).collect();
        for peer in &mut holders {
            peer.send(header(LONGEST));
            assert_eq!(peer.bytes().await.len(), HEADER);
        }
        let mut next = Peer::of(&limits);
        next.send(message(100_000));
        assert!(next.next().now_or_never().is_none(), "no memory is left");
        let mut probe = Peer::of(&limits);
        probe.send(message(SMALL));
        assert_eq!(probe.bytes().await.len(), HEADER + SMALL);
        drop(holders.pop());
        assert_eq!(next.bytes().await.len(), HEADER + 100_000);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_holds_memory_without_sending_makes_way_for_whoever_waits() {
        let limits = MessageLimits::new();
        let mut holders: Vec<_> = (0..4).map(|_| Peer::of(&limits)).collect();
        for peer in &mut holders {
            peer.send(header(LONGEST));
            peer.bytes().await;
        }
        let mut next = Peer::of(&limits);
        next.send(message(100_000));
        let begun = Instant::now();
        let mut holding = holders.remove(0);
        let (ended, passed) = tokio::join!(
            async {
                let ended = holding.next().await.unwrap();
                drop(holding);
                ended
            },
            next.bytes()
        );
        assert_eq!(ended.unwrap_err().code(), tonic::Code::DeadlineExceeded);
        assert_eq!(passed.len(), HEADER + 100_000);
        assert!(begun.elapsed() < FINISH_WITHIN / 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_is_received_keeps_its_memory_until_the_service_asks_for_the_next() {
        let limits = MessageLimits::new();
        let mut holders: Vec<_> = (0..4).map(|_| Peer::of(&limits)).collect();
        for peer in &mut holders {
            peer.send(message(LONGEST));
            assert_eq!(peer.bytes().await.len(), HEADER + LONGEST);
        }
        let mut next = Peer::of(&limits);
        next.send(message(LONGEST));
        assert!(next.next().now_or_never().is_none());
        assert!(holders[0].next().now_or_never().is_none(), "nothing more has come");
        assert!(next.next().now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn time_in_which_a_message_waits_for_memory_does_not_count() {
        let limits = MessageLimits::new();
        let all = limits.budget.acquire(UNFINISHED_BYTES).await;
        let mut peer = Peer::of(&limits);
        peer.send(message(100_000)[..50_000].to_vec());
        assert!(tokio::time::timeout(FINISH_WITHIN * 4, peer.next()).await.is_err());
        drop(all);
        assert_eq!(peer.bytes().await.len(), 50_000);
        peer.send(message(100_000)[50_000..].to_vec());
        assert_eq!(peer.bytes().await.len(), HEADER + 100_000 - 50_000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_length_beyond_grpcs_limit_takes_no_memory() {
        let limits = MessageLimits::new();
        let mut peer = Peer::of(&limits);
        peer.send(header(usize::try_from(u32::MAX).unwrap()));
        assert_eq!(peer.bytes().await.len(), HEADER);
        assert!(limits.budget.acquire(UNFINISHED_BYTES).now_or_never().is_some());
    }

    proptest! {
        #[test]
        fn every_byte_arrives_once_and_in_order_however_frames_divide_messages(
            lengths in prop::collection::vec(0usize..20_000, 0..6), cuts in prop::collection::vec(1usize..9_000, 1..40),
            cut_off in 0usize..10,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
            runtime.block_on(async {
                let limits = MessageLimits::new();
                let mut peer = Peer::of(&limits);
                let mut sent: Vec<u8> = lengths.iter().flat_map(|length| message(*length)).collect();
                sent.truncate(sent.len().saturating_sub(cut_off));
                let mut rest: VecDeque<u8> = sent.iter().copied().collect();
                for cut in cuts.iter().cycle() {
                    if rest.is_empty() { break; }
                    peer.send(rest.drain(..(*cut).min(rest.len())).collect::<Vec<_>>());
                }
                let (closed, _) = mpsc::unbounded_channel();
                peer.sender = closed;
                let mut got = Vec::new();
                while let Some(bytes) = peer.next().await {
                    got.extend_from_slice(&bytes.unwrap());
                }
                assert_eq!(got, sent);
                drop(peer);
                assert!(limits.budget.acquire(UNFINISHED_BYTES).now_or_never().is_some(), "all memory is free");
            });
        }
    }
}
