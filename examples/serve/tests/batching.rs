//! Requests that wait are answered together, and each gets its own answer.

use std::{
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use dfdx_noprop::Error;
use serve::{
    batching::{Fault, Limits, Queue},
    questions::{Points, Question},
};

/// A model whose answer to a row is the row, and which computes when the test says so.
struct Gated {
    queue: Queue,
    worker: JoinHandle<()>,
    /// How many numbers each call began with.
    began: Receiver<usize>,
    go: Sender<()>,
}

fn limits(batch: usize, queue: usize) -> Limits {
    Limits { batch, wait: Duration::ZERO, queue }
}

fn gated(limits: Limits) -> Gated {
    let (begin, began) = channel();
    let (go, gone) = channel();
    let compute = move |_, rows: &[f32]| {
        begin.send(rows.len()).unwrap();
        gone.recv().unwrap();
        Ok(vec![(1.0, rows.to_vec())])
    };
    let (queue, worker) = Queue::start(limits, compute).unwrap();
    Gated { queue, worker, began, go }
}

fn answer(rows: &[f32]) -> Result<Points, Fault> {
    Ok(vec![(1.0, rows.to_vec())])
}

#[tokio::test]
async fn what_waits_while_the_model_computes_is_answered_by_one_call() {
    let Gated { queue, began, go, .. } = gated(limits(4, 10));
    let first = queue.put(Question::Answer, vec![0.0], 1).unwrap();
    assert_eq!(began.recv().unwrap(), 1);
    // 1 + 2 rows, then 2 that do not fit any more, then one of another kind.
    let sizes = [(1, Question::Answer), (2, Question::Answer), (2, Question::Answer)];
    let sizes = sizes.into_iter().chain([(1, Question::Along)]);
    let waiting: Vec<_> = sizes
        .map(|(rows, question)| {
            let numbers = vec![rows as f32; rows];
            (numbers.clone(), queue.put(question, numbers, rows).unwrap())
        })
        .collect();
    for expected in [3, 2, 1] {
        go.send(()).unwrap();
        assert_eq!(began.recv().unwrap(), expected);
    }
    go.send(()).unwrap();
    assert_eq!(first.await.unwrap(), answer(&[0.0]));
    for (numbers, reply) in waiting {
        assert_eq!(reply.await.unwrap(), answer(&numbers));
    }
}

#[tokio::test]
async fn a_batch_of_one_row_is_no_batch() {
    let Gated { queue, began, go, .. } = gated(limits(1, 10));
    let put = |rows| (rows, queue.put(Question::Answer, vec![7.0; rows], rows).unwrap());
    for (rows, reply) in [1, 1, 2, 1].map(put) {
        assert_eq!(began.recv().unwrap(), rows);
        go.send(()).unwrap();
        assert_eq!(reply.await.unwrap(), answer(&vec![7.0; rows]));
    }
}

#[tokio::test]
async fn a_full_queue_takes_no_more() {
    let Gated { queue, began, go, .. } = gated(limits(1, 2));
    let put = |number| queue.put(Question::Answer, vec![number], 1);
    let first = put(0.0).unwrap();
    began.recv().unwrap();
    let waiting = [put(1.0).unwrap(), put(2.0).unwrap()];
    assert_eq!(put(3.0).unwrap_err(), Fault::Full { limit: 2 });
    (0..3).for_each(|_| go.send(()).unwrap());
    assert_eq!(first.await.unwrap(), answer(&[0.0]));
    for (reply, number) in waiting.into_iter().zip([1.0, 2.0]) {
        assert_eq!(reply.await.unwrap(), answer(&[number]));
    }
}

#[tokio::test]
async fn what_was_taken_is_answered_before_the_end() {
    let Gated { queue, worker, began, go } = gated(limits(1, 10));
    let waiting: Vec<_> =
        (0..3).map(|i| queue.put(Question::Answer, vec![i as f32], 1).unwrap()).collect();
    began.recv().unwrap();
    drop(queue);
    (0..3).for_each(|_| go.send(()).unwrap());
    worker.join().unwrap();
    for (i, reply) in waiting.into_iter().enumerate() {
        assert_eq!(reply.await.unwrap(), answer(&[i as f32]));
    }
}

#[tokio::test]
async fn whoever_hung_up_is_not_computed_for() {
    let Gated { queue, worker, began, go } = gated(limits(10, 10));
    let first = queue.put(Question::Answer, vec![0.0], 1).unwrap();
    began.recv().unwrap();
    drop(queue.put(Question::Answer, vec![1.0; 5], 5).unwrap());
    let last = queue.put(Question::Answer, vec![2.0], 1).unwrap();
    go.send(()).unwrap();
    assert_eq!(began.recv().unwrap(), 1);
    go.send(()).unwrap();
    assert_eq!(first.await.unwrap(), answer(&[0.0]));
    assert_eq!(last.await.unwrap(), answer(&[2.0]));
    drop(queue);
    worker.join().unwrap();
}

#[tokio::test]
async fn a_request_waits_for_more_if_it_is_to() {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let seen = calls.clone();
    let compute = move |_, rows: &[f32]| {
        seen.lock().unwrap().push(rows.len());
        Ok(vec![(1.0, rows.to_vec())])
    };
    // Long enough never to end in a test: the batch is full before.
    let limits = Limits { batch: 2, wait: Duration::from_secs(3600), queue: 4 };
    let (queue, _worker) = Queue::start(limits, compute).unwrap();
    let first = queue.put(Question::Answer, vec![1.0], 1).unwrap();
    tokio::task::yield_now().await;
    let second = queue.put(Question::Answer, vec![2.0], 1).unwrap();
    assert_eq!(first.await.unwrap(), answer(&[1.0]));
    assert_eq!(second.await.unwrap(), answer(&[2.0]));
    assert_eq!(*calls.lock().unwrap(), [2]);
}

#[tokio::test]
async fn a_panic_or_an_error_is_the_fault_of_one_request() {
    let (begin, began) = channel();
    let (go, gone) = channel();
    let compute = move |_, rows: &[f32]| {
        begin.send(()).unwrap();
        gone.recv().unwrap();
        assert!(!rows.contains(&1.0), "one is too much");
        match rows.contains(&2.0) {
            true => Err(Error::Device { operation: "a test", message: "two".into() }),
            false => Ok(vec![(1.0, rows.to_vec())]),
        }
    };
    let (queue, _worker) = Queue::start(limits(10, 10), compute).unwrap();
    let put = |number| queue.put(Question::Answer, vec![number], 1).unwrap();
    let first = put(0.0);
    began.recv().unwrap();
    let [panics, fails, fine] = [1.0, 2.0, 3.0].map(put);
    (0..5).for_each(|_| go.send(()).unwrap());
    assert_eq!(first.await.unwrap(), answer(&[0.0]));
    assert_eq!(fine.await.unwrap(), answer(&[3.0]));
    let text = "the model panicked: one is too much";
    assert_eq!(panics.await.unwrap(), Err(Fault::Failed(text.into())));
    let Err(Fault::Failed(text)) = fails.await.unwrap() else { panic!("not failed") };
    assert!(text.contains("two"), "{text}");
    // All together, then each.
    assert_eq!(began.iter().take(4).count(), 4);
}
