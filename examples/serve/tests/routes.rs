//! What the routes answer, beside what the predictor answers.

use std::{sync::LazyLock, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode},
};
use dfdx_noprop::{
    AnyPredictor,
    data::digits_rows,
    prelude::{AutoDevice, ConditionalResNetFm, FlowMatching, NoProp, Regression},
};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use serve::{
    batching::{Limits, Queue},
    digits,
    questions::{Question, compute, rows_are_independent},
    routes::{Facts, MOST_BYTES, MOST_ROWS, router},
    server,
};
use tower::ServiceExt;

static DIGITS: LazyLock<AnyPredictor> = LazyLock::new(|| digits::train(2).unwrap().0);

const TOGETHER: Limits = Limits { batch: 256, wait: Duration::ZERO, queue: 1024 };

fn routes(model: &AnyPredictor, limits: Limits) -> Router {
    let facts = Facts::new(model).unwrap();
    let model = model.clone();
    let compute = move |question, rows: &[f32]| compute(&model, question, rows);
    router(facts, Queue::start(limits, compute).unwrap().0)
}

async fn ask(router: &Router, method: &str, path: &str, body: String) -> (StatusCode, Value) {
    let request = Request::builder().method(method).uri(path).body(Body::from(body)).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap())
}

async fn predict(router: &Router, rows: &[&[f32]]) -> Value {
    let body = json!({ "rows": rows }).to_string();
    let (status, answer) = ask(router, "POST", "/predict", body).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer
}

fn bits(numbers: &Value) -> Vec<u32> {
    let number = |value: &Value| serde_json::from_value::<f32>(value.clone()).unwrap().to_bits();
    numbers.as_array().unwrap().iter().map(number).collect()
}

fn bits_of(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|number| number.to_bits()).collect()
}

/// The last bits of an answer depend on how many rows a call has.
fn assert_close(found: &Value, expected: &Value) {
    let answers = |value: &Value| value["answers"].as_array().unwrap().clone();
    let (found, expected) = (answers(found), answers(expected));
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        for class in 0..10 {
            let [a, b] = [found, expected].map(|row| row["probabilities"][class].as_f64().unwrap());
            assert!((a - b).abs() < 1e-6, "{found} instead of {expected}");
        }
    }
}

#[tokio::test]
async fn the_model_is_described() {
    let (status, model) = ask(&routes(&DIGITS, TOGETHER), "GET", "/model", String::new()).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(model["variant"], "discrete time");
    assert_eq!((&model["inputs"], &model["outputs"]), (&json!(64), &json!(10)));
    assert_eq!(model["classes"][3], "3");
    assert!(model["summary"].as_str().unwrap().contains("condition on z and x"));
}

#[tokio::test]
async fn answers_are_those_of_the_predictor() {
    let data = digits_rows().unwrap();
    let rows: Vec<&[f32]> = data.samples()[..20].iter().map(|row| &row[..]).collect();
    let answers = predict(&routes(&DIGITS, TOGETHER), &rows).await["answers"].take();
    let expected = DIGITS.predict_proba(&rows.concat()).unwrap();
    let names = DIGITS.predict_names(&rows.concat()).unwrap();
    let classes = DIGITS.predict_classes(&rows.concat()).unwrap();
    let answers = answers.as_array().unwrap();
    assert_eq!(answers.len(), 20);
    for (i, answer) in answers.iter().enumerate() {
        assert_eq!(bits(&answer["probabilities"]), bits_of(&expected[10 * i..10 * (i + 1)]));
        assert_eq!(answer["name"], names[i]);
        assert_eq!(answer["class"], classes[i]);
    }
}

#[tokio::test]
async fn the_way_has_a_point_after_each_block() {
    let row = digits_rows().unwrap().samples()[5];
    let body = json!({ "row": &row[..] }).to_string();
    let (status, found) = ask(&routes(&DIGITS, TOGETHER), "POST", "/along", body).await;
    assert_eq!(status, StatusCode::OK, "{found}");
    let points = found["points"].as_array().unwrap();
    let expected = DIGITS.predict_along(&row).unwrap();
    assert_eq!((points.len(), expected.len()), (10, 10));
    for (point, (t, probabilities)) in points.iter().zip(&expected) {
        assert_eq!(point["t"], *t);
        assert_eq!(bits(&point["probabilities"]), bits_of(probabilities));
        assert!(point["name"].is_string());
    }
}

#[tokio::test]
async fn a_model_of_numbers_gives_values() {
    type Model = NoProp<FlowMatching<Regression>, ConditionalResNetFm<2, 3, 16>, 2, 3>;
    let model = Model::new(&AutoDevice::default(), FlowMatching::default()).unwrap();
    let model = AnyPredictor::from(model.predictor().unwrap());
    let router = routes(&model, TOGETHER);
    let rows = [[1.0, 2.0, 3.0], [-4.0, 0.5, 0.0]];
    let found = predict(&router, &[&rows[0], &rows[1]]).await;
    let expected = model.predict_values(rows.as_flattened()).unwrap();
    assert_eq!(bits(&found["values"][1]), bits_of(&expected[2..]));
    let facts = ask(&router, "GET", "/model", String::new()).await.1;
    assert_eq!(facts["classes"], Value::Null);
    let body = json!({ "row": &rows[0] }).to_string();
    let points = ask(&router, "POST", "/along", body).await.1;
    let last = points["points"].as_array().unwrap().last().unwrap();
    let (_, end) = model.predict_along(&rows[0]).unwrap().pop().unwrap();
    assert_eq!(bits(&last["values"]), bits_of(&end));
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_give_the_answers_of_each_by_itself() {
    let together = routes(&DIGITS, TOGETHER);
    let alone = routes(&DIGITS, Limits { batch: 1, ..TOGETHER });
    let data = digits_rows().unwrap();
    let tasks: Vec<_> = (0..64)
        .map(|i| {
            let (together, alone, data) = (together.clone(), alone.clone(), data.clone());
            tokio::spawn(async move {
                for turn in 0..5 {
                    let first = (64 * turn + i) % 1700;
                    let rows = &data.samples()[first..first + 1 + i % 3];
                    let rows: Vec<&[f32]> = rows.iter().map(|row| &row[..]).collect();
                    let found = predict(&together, &rows).await;
                    assert_close(&found, &predict(&alone, &rows).await);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn errors_say_what_was_expected_and_what_came() {
    let router = routes(&DIGITS, TOGETHER);
    let zeros = |width| json!(vec![0.0; width]);
    let many = vec![vec![0; 64]; MOST_ROWS + 1];
    let narrow = json!({ "rows": [zeros(64), zeros(63)] }).to_string();
    let large = format!(r#"{{"row": [4e38{}]}}"#, ", 0".repeat(63));
    for (path, body, status, expected) in [
        ("/predict", narrow, 400, "[[64 numbers], …]}, found 63 numbers in row 1"),
        ("/predict", r#"{"rows": []}"#.into(), 400, "expected 1 to 4096 rows, found none"),
        ("/predict", json!({ "rows": many }).to_string(), 400, "4096 rows, found 4097"),
        ("/predict", String::new(), 400, "found an empty body"),
        ("/predict", r#"{"rows": [[NaN]]}"#.into(), 400, "as JSON, found expected value"),
        ("/predict", r#"{"row": [1]}"#.into(), 400, "unknown field `row`, expected `rows`"),
        ("/along", json!({ "row": zeros(65) }).to_string(), 400, "found 65 numbers in row 0"),
        ("/along", large, 400, "as JSON, found number out of range at line 1 column 13"),
        ("/predict", "1".repeat(MOST_BYTES + 1), 413, "send fewer rows"),
        ("/guess", String::new(), 404, "expected GET /, GET /model, POST /predict"),
        ("/model", String::new(), 405, "expected GET /model, found POST /model"),
    ] {
        let (found, error) = ask(&router, "POST", path, body).await;
        assert_eq!(found.as_u16(), status, "{error}");
        let text = error["error"].as_str().unwrap();
        assert!(text.contains(expected), "{text}");
    }
}

#[tokio::test]
async fn a_full_queue_is_busy_and_a_panic_ends_nothing() {
    let (begin, mut began) = tokio::sync::mpsc::unbounded_channel();
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let panicking = move |_: Question, _: &[f32]| {
        begin.send(()).unwrap();
        gone.recv().unwrap();
        panic!("on purpose")
    };
    let (queue, _) = Queue::start(Limits { batch: 1, queue: 1, ..TOGETHER }, panicking).unwrap();
    let router = router(Facts::new(&DIGITS).unwrap(), queue.clone());
    let body = json!({ "row": vec![0; 64] }).to_string();
    let first = tokio::spawn({
        let (router, body) = (router.clone(), body.clone());
        async move { ask(&router, "POST", "/along", body).await }
    });
    began.recv().await.unwrap();
    let waiting = queue.put(Question::Along, vec![0.0; 64], 1).unwrap();
    let (status, error) = ask(&router, "POST", "/along", body.clone()).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(error["error"].as_str().unwrap().contains("the queue is full: 1 requests wait"));
    (0..3).for_each(|_| go.send(()).unwrap());
    let (status, error) = first.await.unwrap();
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(error["error"], "the model panicked: on purpose");
    assert!(waiting.await.unwrap().is_err());
    assert_eq!(ask(&router, "POST", "/along", body).await.0, StatusCode::INTERNAL_SERVER_ERROR);
}

#[test]
fn a_model_with_noise_is_not_asked_for_several_rows_at_once() {
    use dfdx_noprop::prelude::*;
    type Block = ConditionalResNetDt<3, 4, 8>;
    let model = |sampler| {
        let variant = DiscreteTime { sampler, blocks: 2, ..DiscreteTime::<OneHot>::default() };
        let model = NoProp::<_, Block, 3, 4>::new(&AutoDevice::default(), variant).unwrap();
        AnyPredictor::from(model.predictor().unwrap())
    };
    let noise = Sampler::Stochastic { draws: 1, seed: 0 };
    assert!(!rows_are_independent(&model(noise)).unwrap());
    assert!(rows_are_independent(&DIGITS).unwrap());

    let steps = Steps::adaptive(1e-3, 1e-3);
    let solver = Solver { method: Method::Tsitouras, steps, save: Save::End };
    let variant = FlowMatching { solver, ..FlowMatching::<OneHot>::default() };
    type Network = ConditionalResNetFm<3, 4, 8>;
    let model = NoProp::<_, Network, 3, 4>::new(&AutoDevice::default(), variant).unwrap();
    assert!(!rows_are_independent(&model.predictor().unwrap().into()).unwrap());
}

#[tokio::test]
async fn the_server_ends_when_asked_with_what_it_took_answered() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (begin, mut began) = tokio::sync::mpsc::unbounded_channel();
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let gated = move |question, rows: &[f32]| {
        begin.send(()).unwrap();
        gone.recv().unwrap();
        compute(&DIGITS, question, rows)
    };
    let (queue, worker) = Queue::start(TOGETHER, gated).unwrap();
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let router = router(Facts::new(&DIGITS).unwrap(), queue);
    let ended = async { ended.await.unwrap() };
    let served = tokio::spawn(server::serve(listener, router, worker, ended));

    let mut idle = connect(address).await;
    let page = idle.send_request(Request::get("/").body(String::new()).unwrap()).await.unwrap();
    let page = page.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&page).contains("<canvas"));

    let mut busy = connect(address).await;
    let body = json!({ "rows": [vec![0; 64]] }).to_string();
    let asked = busy.send_request(Request::post("/predict").body(body).unwrap());
    let asked = tokio::spawn(asked);
    began.recv().await.unwrap();
    end.send(()).unwrap();
    // The server does not wait for connections that ask for nothing.
    while !idle.is_closed() {
        tokio::task::yield_now().await;
    }
    assert!(!served.is_finished());
    go.send(()).unwrap();
    let answer = asked.await.unwrap().unwrap().into_body().collect().await.unwrap().to_bytes();
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(answer["answers"].as_array().unwrap().len(), 1);
    served.await.unwrap().unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

async fn connect(address: std::net::SocketAddr) -> hyper::client::conn::http1::SendRequest<String> {
    let stream = TokioIo::new(tokio::net::TcpStream::connect(address).await.unwrap());
    let (sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    sender
}
