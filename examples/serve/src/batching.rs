//! One thread calls the model. While it computes, requests wait in a queue of limited length; then it
//! takes those that wait and answers them by one call.

use std::{
    any::Any,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    thread::JoinHandle,
    time::Duration,
};

use dfdx_noprop::Error;
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
    time::{Instant, timeout_at},
};

use crate::questions::{Points, Question};

/// How many requests are answered together, and how many may wait.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Rows in a call; 1 answers each request by itself.
    pub batch: usize,
    /// How long the first request of a batch waits for more; zero takes what waits already.
    pub wait: Duration,
    /// Requests that may wait.
    pub queue: usize,
}

/// Why a request has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// As many requests wait as may.
    Full { limit: usize },
    /// The model does not take these rows.
    Refused(String),
    /// The model failed.
    Failed(String),
    /// The server ends.
    Ending,
}

pub type Answer = Result<Points, Fault>;

struct Request {
    question: Question,
    /// Row-major.
    numbers: Vec<f32>,
    rows: usize,
    reply: oneshot::Sender<Answer>,
}

/// Where requests wait. The thread behind it ends once all clones are dropped and all requests
/// answered.
#[derive(Clone, Debug)]
pub struct Queue(mpsc::Sender<Request>);

impl Queue {
    /// Starts the thread that calls `compute`. To be called within a tokio runtime.
    ///
    /// # Errors
    /// Those of starting a thread.
    pub fn start<F>(limits: Limits, compute: F) -> io::Result<(Self, JoinHandle<()>)>
    where
        F: FnMut(Question, &[f32]) -> Result<Points, Error> + Send + 'static,
    {
        let (sender, queue) = mpsc::channel(limits.queue.max(1));
        let runtime = Handle::current();
        let worker = Worker { queue, limits, runtime, compute, carried: None };
        let thread = std::thread::Builder::new().name("model".into());
        Ok((Self(sender), thread.spawn(move || worker.run())?))
    }

    /// Puts `rows` rows, row-major in `numbers`, into the queue.
    ///
    /// # Errors
    /// [`Fault::Full`], [`Fault::Ending`].
    pub fn put(
        &self,
        question: Question,
        numbers: Vec<f32>,
        rows: usize,
    ) -> Result<oneshot::Receiver<Answer>, Fault> {
        let (reply, answer) = oneshot::channel();
        let request = Request { question, numbers, rows, reply };
        self.0.try_send(request).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Fault::Full { limit: self.0.max_capacity() },
            mpsc::error::TrySendError::Closed(_) => Fault::Ending,
        })?;
        Ok(answer)
    }

    /// The same, with the answer.
    ///
    /// # Errors
    /// Any [`Fault`].
    pub async fn ask(&self, question: Question, numbers: Vec<f32>, rows: usize) -> Answer {
        self.put(question, numbers, rows)?.await.unwrap_or(Err(Fault::Ending))
    }
}

struct Worker<F> {
    queue: mpsc::Receiver<Request>,
    limits: Limits,
    runtime: Handle,
    compute: F,
    /// Taken from the queue, but not fit for the batch before.
    carried: Option<Request>,
}

impl<F: FnMut(Question, &[f32]) -> Result<Points, Error>> Worker<F> {
    fn run(mut self) {
        while let Some(batch) = self.take() {
            self.answer(batch);
        }
    }

    /// Requests with the same question; `None` at the end.
    fn take(&mut self) -> Option<Vec<Request>> {
        let first = self.carried.take().or_else(|| self.queue.blocking_recv())?;
        let (question, mut rows) = (first.question, first.rows);
        let deadline = Instant::now() + self.limits.wait;
        let mut batch = vec![first];
        while rows < self.limits.batch {
            let Some(next) = self.next(deadline) else { break };
            if next.question != question || rows + next.rows > self.limits.batch {
                self.carried = Some(next);
                break;
            }
            rows += next.rows;
            batch.push(next);
        }
        Some(batch)
    }

    fn next(&mut self, deadline: Instant) -> Option<Request> {
        match self.queue.try_recv() {
            Ok(request) => Some(request),
            Err(_) if self.limits.wait.is_zero() => None,
            Err(_) => {
                let next = async { timeout_at(deadline, self.queue.recv()).await };
                self.runtime.block_on(next).ok().flatten()
            }
        }
    }

    fn answer(&mut self, mut batch: Vec<Request>) {
        // Whoever has hung up needs no answer.
        batch.retain(|request| !request.reply.is_closed());
        let Some(first) = batch.first() else { return };
        let (question, alone) = (first.question, batch.len() == 1);
        let numbers: Vec<f32> = batch.iter().flat_map(|r| &r.numbers).copied().collect();
        match self.call(question, &numbers) {
            Ok(points) => hand_out(batch, &points),
            Err(fault) if alone => batch.into_iter().for_each(|r| reply(r, Err(fault.clone()))),
            // What is wrong with one of them is not the others' fault.
            Err(_) => batch.into_iter().for_each(|request| self.answer(vec![request])),
        }
    }

    fn call(&mut self, question: Question, numbers: &[f32]) -> Answer {
        match catch_unwind(AssertUnwindSafe(|| (self.compute)(question, numbers))) {
            Ok(Ok(points)) => Ok(points),
            Ok(Err(error @ Error::Argument { .. })) => Err(Fault::Refused(error.to_string())),
            Ok(Err(error)) => Err(Fault::Failed(error.to_string())),
            Err(panic) => Err(Fault::Failed(format!("the model panicked: {}", text(&*panic)))),
        }
    }
}

/// Each request gets its rows of each point.
fn hand_out(batch: Vec<Request>, points: &Points) {
    let total: usize = batch.iter().map(|request| request.rows).sum();
    let mut before = 0;
    for request in batch {
        let part = |(t, values): &(f64, Vec<f32>)| {
            let width = values.len() / total;
            (*t, values[before * width..(before + request.rows) * width].to_vec())
        };
        let own = points.iter().map(part).collect();
        before += request.rows;
        reply(request, Ok(own));
    }
}

fn reply(request: Request, answer: Answer) {
    // Fails if the client has hung up meanwhile, which concerns nobody.
    let _ = request.reply.send(answer);
}

fn text(panic: &(dyn Any + Send)) -> &str {
    let owned = || panic.downcast_ref::<String>().map(String::as_str);
    panic.downcast_ref::<&str>().copied().or_else(owned).unwrap_or("without a message")
}
