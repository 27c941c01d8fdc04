//! What waits to be written to one socket, bounded in bytes. Pushing never waits. Whoever has pushed
//! to a plain socket writes: all that waits in one system call, as far as the kernel takes it; the
//! rest is the business of the socket's task, and of nobody else until it is through.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::frame::Frame;
use super::room::Room;

/// Counted for each frame beyond its bytes.
const OVERHEAD: usize = 64;
/// Places for frames that an idle socket may hold.
const IDLE_CAPACITY: usize = 16;
/// Frames in one write.
const GATHER: usize = 64;

/// The queue of one socket.
#[derive(Debug)]
pub struct Outbox {
    queue: Mutex<Queue>,
    room: Arc<Room>,
}

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<Frame>,
    /// Bytes of the first frame that are written already.
    written: usize,
    bytes: usize,
    /// Bytes that the task of a socket with TLS has taken out and not yet written.
    taken: usize,
    closed: bool,
    /// What is left is given up but for a frame that is half written, and its socket will soon be gone:
    /// nobody else waits for that.
    cut: bool,
    /// Since when the kernel has taken nothing: the socket's task waits for it.
    stuck: Option<Instant>,
    /// Nothing goes out for now.
    held: bool,
    /// Event frames thrown away.
    lost: u64,
    /// What of the bytes the room counts: what the kernel did not take.
    debt: usize,
    /// More waits than may, and nobody has come to write it.
    late: bool,
}

/// What a push found.
#[derive(Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It is the first that waits: somebody has to see to it that it is written.
    First,
    /// Somebody sees to it already.
    Behind,
    /// Nobody will read it.
    Closed,
    /// So many bytes would wait for the kernel, which is more than may. It was not taken.
    Full(usize),
}

/// What a write came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Event frames written in full.
    pub events: u64,
    /// When the source got the oldest of them.
    pub oldest: Option<Instant>,
    /// Something is left: the kernel takes no more now.
    pub stuck: bool,
}

impl Written {
    /// What came after this.
    pub(super) fn add(&mut self, later: Self) {
        self.events += later.events;
        self.oldest = self.oldest.or(later.oldest);
        self.stuck = later.stuck;
    }
}

impl Outbox {
    /// An empty queue.
    pub fn new(room: Arc<Room>) -> Self {
        Self {
            queue: Mutex::default(),
            room,
        }
    }

    /// Appends a frame.
    pub fn push(&self, frame: Frame) -> Pushed {
        let mut queue = self.lock();
        if queue.closed {
            queue.lost += u64::from(frame.received().is_some());
            return Pushed::Closed;
        }
        let bytes = queue.bytes + cost(&frame);
        // Only what the kernel refused tells of a slow reader. A single frame always fits: whoever
        // reads at all can be sent the largest event.
        if bytes + queue.taken > self.room.each && queue.bytes > 0 && queue.stuck.is_some() {
            return Pushed::Full(bytes + queue.taken);
        }
        queue.bytes = bytes;
        queue.frames.push_back(frame);
        queue.settle(&self.room);
        if queue.frames.len() == 1 {
            Pushed::First
        } else {
            Pushed::Behind
        }
    }

    /// From here until [`Outbox::release`] nothing is written. Only the socket's task may do so, and
    /// not wait meanwhile.
    pub(super) fn hold(&self) {
        self.lock().held = true;
    }

    /// Ends [`Outbox::hold`]. What was pushed since waits for a write.
    pub(super) fn release(&self) {
        self.lock().held = false;
    }

    /// Writes what waits with `write`, which gets many frames at a time and must not block. Unless
    /// `task`, a queue whose task waits for the kernel is left to it.
    pub fn write(
        &self,
        task: bool,
        mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<Written> {
        let mut queue = self.lock();
        let mut done = Written::default();
        if queue.held || queue.stuck.is_some() && !task {
            return Ok(done);
        }
        while !queue.frames.is_empty() {
            let attempt = if let ([frame], []) = queue.frames.as_slices() {
                // The most common case at a low rate needs no list.
                write(&[IoSlice::new(&frame.as_slice()[queue.written..])])
            } else {
                let mut slices = [IoSlice::new(&[]); GATHER];
                let count = queue.slices(&mut slices);
                write(&slices[..count])
            };
            match attempt {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    queue.stuck = None;
                    queue.advance(count, &mut done);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    queue.stuck.get_or_insert_with(Instant::now);
                    done.stuck = true;
                    queue.settle(&self.room);
                    return Ok(done);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if queue.frames.capacity() > IDLE_CAPACITY {
            queue.frames = VecDeque::new();
        }
        queue.stuck = None;
        queue.settle(&self.room);
        Ok(done)
    }

    /// For a task that writes by its own means: takes out up to `most` bytes, to the end of `into`. They
    /// count as waiting until [`Outbox::went`].
    pub(super) fn take(&self, most: usize, into: &mut Vec<u8>) -> Written {
        let mut queue = self.lock();
        let mut done = Written::default();
        if queue.held {
            return done;
        }
        let before = queue.bytes;
        let mut room = most;
        while let Some(frame) = queue.frames.front() {
            let left = &frame.as_slice()[queue.written..];
            let part = &left[..left.len().min(room)];
            into.extend_from_slice(part);
            let count = part.len();
            room -= count;
            if count == 0 {
                break;
            }
            queue.advance(count, &mut done);
        }
        if queue.frames.is_empty() && queue.frames.capacity() > IDLE_CAPACITY {
            queue.frames = VecDeque::new();
        }
        queue.taken += before - queue.bytes;
        queue.settle(&self.room);
        done
    }

    /// All that was taken out has been written.
    pub(super) fn went(&self) {
        let mut queue = self.lock();
        queue.taken = 0;
        queue.stuck = None;
        queue.settle(&self.room);
    }

    /// The kernel does not take all that was taken out: what waits is a debt.
    pub(super) fn stall(&self) {
        let mut queue = self.lock();
        queue.stuck.get_or_insert_with(Instant::now);
        queue.settle(&self.room);
    }

    /// So many event frames were taken out that nobody will get.
    pub(super) fn lose(&self, events: u64) {
        self.lock().lost += events;
    }

    /// Since when the kernel has taken nothing of what waits.
    pub(super) fn stuck_since(&self) -> Option<Instant> {
        self.lock().stuck
    }

    /// Whether something waits.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().frames.is_empty()
    }

    /// Takes nothing more but `last`. With `keep` what waits goes out before it; otherwise only the
    /// frame that is half written does.
    pub(super) fn close(&self, keep: bool, last: Option<Frame>) {
        let mut queue = self.lock();
        if queue.closed {
            return;
        }
        if !keep {
            // Only a frame that is there can be half written.
            let kept = usize::from(queue.written > 0);
            let thrown = queue.frames.split_off(kept);
            queue.lose(&thrown);
        }
        queue.frames.extend(last);
        queue.bytes = queue.frames.iter().map(cost).sum();
        queue.closed = true;
        queue.cut = !keep;
        queue.settle(&self.room);
    }

    /// Throws away what is left: nobody reads any more.
    pub(super) fn abandon(&self) {
        let mut queue = self.lock();
        let thrown = std::mem::take(&mut queue.frames);
        queue.lose(&thrown);
        queue.bytes = 0;
        queue.taken = 0;
        queue.closed = true;
        queue.settle(&self.room);
    }

    /// How many event frames were thrown away.
    pub(super) fn lost(&self) -> u64 {
        self.lock().lost
    }

    /// How many bytes wait.
    pub(super) fn waiting(&self) -> usize {
        let queue = self.lock();
        queue.taken + queue.bytes - queue.written.min(queue.bytes)
    }

    /// How many bytes the kernel did not take.
    pub(super) fn debt(&self) -> usize {
        self.lock().debt
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.abandon();
    }
}

impl Queue {
    /// Tells the room of a changed debt; as good as never for who reads.
    fn settle(&mut self, room: &Room) {
        let debt = if self.stuck.is_some() && !self.cut {
            self.taken + self.bytes
        } else {
            0
        };
        room.change(self.debt, debt);
        self.debt = debt;
        let late = debt == 0 && self.bytes > room.each && self.frames.len() > 1 && !self.closed;
        if late != self.late {
            room.late(late);
            self.late = late;
        }
    }

    /// What goes into the next write: the frames from the first unwritten byte on.
    fn slices<'q>(&'q self, slices: &mut [IoSlice<'q>; GATHER]) -> usize {
        let places = slices.iter_mut().zip(&self.frames);
        let mut count = 0;
        for (slice, frame) in places {
            *slice = IoSlice::new(frame.as_slice());
            count += 1;
        }
        slices[0].advance(self.written);
        count
    }

    fn advance(&mut self, count: usize, done: &mut Written) {
        let mut left = count + self.written;
        self.written = 0;
        while let Some(first) = self.frames.front() {
            if left < first.len() {
                self.written = left;
                return;
            }
            left -= first.len();
            self.bytes -= cost(first);
            if let Some(received) = first.received() {
                done.events += 1;
                done.oldest.get_or_insert(received);
            }
            self.frames.pop_front();
        }
    }

    fn lose(&mut self, thrown: &VecDeque<Frame>) {
        let events = thrown.iter().filter(|frame| frame.received().is_some());
        self.lost += events.count() as u64;
    }
}

fn cost(frame: &Frame) -> usize {
    frame.len() + OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use proptest::prelude::*;

    fn outbox(most: usize) -> Outbox {
        Outbox::new(Arc::new(Room::new(most, usize::MAX, Arc::default())))
    }

    fn text(text: &str) -> Frame {
        Frame::from(text.to_owned())
    }

    fn event(text: &str) -> Frame {
        Frame::event(text.to_owned(), Instant::now())
    }

    /// A kernel that takes so many bytes, then says that it would block.
    fn kernel(room: usize, taken: &mut Vec<u8>) -> impl FnMut(&[IoSlice<'_>]) -> io::Result<usize> {
        let mut room = room;
        move |slices| {
            let mut count = 0;
            for slice in slices {
                let part = slice.len().min(room);
                taken.extend_from_slice(&slice[..part]);
                room -= part;
                count += part;
            }
            if count == 0 {
                Err(io::ErrorKind::WouldBlock.into())
            } else {
                Ok(count)
            }
        }
    }

    #[test]
    fn bounded_and_freed() {
        let cost = text("1").len() + OVERHEAD;
        let outbox = outbox(3 * cost);
        assert_eq!(outbox.push(text("1")), Pushed::First);
        outbox.write(false, kernel(0, &mut Vec::new())).expect("ok");
        assert_eq!(outbox.push(event("2")), Pushed::Behind);
        assert_eq!(outbox.push(event("3")), Pushed::Behind);
        assert_eq!(outbox.push(event("4")), Pushed::Full(4 * cost));
        assert_eq!(outbox.waiting(), 3 * cost);
        outbox.abandon();
        assert_eq!((outbox.waiting(), outbox.lost()), (0, 2));
        assert_eq!(outbox.push(event("5")), Pushed::Closed);
        assert_eq!(outbox.lost(), 3);
    }

    #[test]
    fn one_large_frame_fits_an_empty_queue() {
        let outbox = outbox(100);
        let large = text(&"x".repeat(1000));
        assert_eq!(outbox.push(large.clone()), Pushed::First);
        outbox.write(false, kernel(1, &mut Vec::new())).expect("ok");
        assert!(matches!(outbox.push(large), Pushed::Full(_)));
    }

    /// A reader is not slow because its task has not had a turn: the source waits for that.
    #[test]
    fn what_nobody_has_written_yet_holds_up_the_source_and_closes_nobody() {
        let outbox = outbox(100);
        let room = outbox.room.clone();
        for number in 0..9 {
            assert!(room.within().now_or_never().is_some() || number > 1);
            assert!(!matches!(outbox.push(event("event")), Pushed::Full(_)));
        }
        assert!(room.within().now_or_never().is_none(), "late");
        let written = outbox
            .write(true, kernel(1000, &mut Vec::new()))
            .expect("ok");
        assert_eq!((written.events, outbox.debt()), (9, 0));
        assert!(room.within().now_or_never().is_some());
        for _ in 0..9 {
            outbox.push(event("event"));
        }
        assert!(room.within().now_or_never().is_none(), "late");
        outbox.abandon();
        assert!(room.within().now_or_never().is_some());
    }

    #[test]
    fn a_stuck_queue_is_its_tasks_business() {
        let outbox = outbox(10_000);
        let begun = Instant::now();
        outbox.push(Frame::event("1234".into(), begun));
        let mut taken = Vec::new();
        let written = outbox.write(false, kernel(3, &mut taken)).expect("ok");
        assert!(written.stuck && written.events == 0);
        assert!(outbox.stuck_since().is_some());
        assert_eq!(outbox.debt(), outbox.room.debt());
        assert!(outbox.debt() > 0);
        let nothing = outbox.write(false, |_| panic!("not now")).expect("ok");
        assert_eq!(nothing, Written::default());
        let written = outbox.write(true, kernel(100, &mut taken)).expect("ok");
        assert_eq!((written.events, written.oldest), (1, Some(begun)));
        assert!(outbox.is_empty() && outbox.stuck_since().is_none());
        assert_eq!((outbox.debt(), outbox.room.debt()), (0, 0));
        assert_eq!(taken, text("1234").as_slice());
    }

    #[test]
    fn what_is_taken_out_is_a_debt_when_it_stalls_and_not_before() {
        let outbox = outbox(100);
        let mut taken = Vec::new();
        for _ in 0..2 {
            outbox.push(event("in the record"));
        }
        let length = event("in the record").len();
        assert_eq!(outbox.take(length + 3, &mut taken).events, 1);
        assert_eq!((outbox.debt(), taken.len()), (0, length + 3));
        // Its task has hands full, its reader has refused nothing.
        for _ in 0..9 {
            assert_eq!(outbox.push(event("behind it")), Pushed::Behind);
        }
        assert!(!outbox.room.is_within(), "late");
        let waiting = outbox.waiting();
        outbox.stall();
        assert!(outbox.room.is_within());
        assert_eq!(outbox.room.debt(), outbox.debt());
        assert!(outbox.debt() >= waiting);
        assert!(matches!(outbox.push(event("too much")), Pushed::Full(_)));
        outbox.went();
        assert_eq!((outbox.debt(), outbox.room.debt()), (0, 0));
        assert_eq!(outbox.take(usize::MAX, &mut taken).events, 10);
        outbox.went();
        assert!(outbox.is_empty() && outbox.waiting() == 0);
        let expected = [vec!["in the record"; 2], vec!["behind it"; 9]].concat();
        let expected: Vec<Frame> = expected.into_iter().map(event).collect();
        let expected: Vec<&[u8]> = expected.iter().map(Frame::as_slice).collect();
        assert_eq!(taken, expected.concat());
    }

    #[test]
    fn a_close_keeps_what_is_half_written() {
        for keep in [true, false] {
            let outbox = outbox(10_000);
            for part in ["one", "two"] {
                outbox.push(event(part));
            }
            let mut taken = Vec::new();
            outbox.write(false, kernel(2, &mut taken)).expect("ok");
            outbox.close(keep, Some(text("last")));
            outbox.write(true, kernel(100, &mut taken)).expect("ok");
            let mut expected = text("one").as_slice().to_vec();
            if keep {
                expected.extend(text("two").as_slice());
            }
            expected.extend(text("last").as_slice());
            assert_eq!(taken, expected);
            assert_eq!(outbox.lost(), u64::from(!keep));
        }
    }

    proptest! {
        #[test]
        fn all_bytes_in_order_whatever_the_kernel_takes(
            lengths in prop::collection::vec(0usize..50, 1..200),
            rooms in prop::collection::vec(1usize..400, 1..20),
        ) {
            let outbox = outbox(usize::MAX);
            let mut expected = Vec::new();
            for length in &lengths {
                let frame = event(&"x".repeat(*length));
                expected.extend_from_slice(frame.as_slice());
                outbox.push(frame);
            }
            let (mut taken, mut events) = (Vec::new(), 0);
            for room in rooms.iter().cycle() {
                events += outbox.write(true, kernel(*room, &mut taken)).expect("ok").events;
                if outbox.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(taken, expected);
            prop_assert_eq!(events, lengths.len() as u64);
            prop_assert_eq!(outbox.waiting(), 0);
        }
    }
}
