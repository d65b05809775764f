//! What the server answers, and by which errors it refuses.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State, rejection::BytesRejection},
    http::{Method, StatusCode, Uri},
    response::{Html, IntoResponse, Response},
    routing::{get, post},
};
use dfdx_noprop::{AnyPredictor, Error};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    batching::{Fault, Queue},
    questions::Question,
};

/// Rows in a request.
pub const MOST_ROWS: usize = 4096;
/// Bytes in the body of a request.
pub const MOST_BYTES: usize = 8 << 20;

/// What there is to know of the model: `GET /model`.
#[derive(Clone, Debug, Serialize)]
pub struct Facts {
    variant: &'static str,
    inputs: usize,
    outputs: usize,
    /// Their names, or numbers where they have none; `null` for a model of numbers.
    classes: Option<Vec<String>>,
    #[serde(skip)]
    named: bool,
    summary: String,
}

impl Facts {
    /// # Errors
    /// Those of [`AnyPredictor::summary`].
    pub fn new(model: &AnyPredictor) -> Result<Self, Error> {
        let named = !model.class_names().is_empty();
        let classes = match named {
            true => model.class_names().to_vec(),
            false => (0..model.outputs()).map(|class| class.to_string()).collect(),
        };
        Ok(Self {
            variant: model.variant(),
            inputs: model.inputs(),
            outputs: model.outputs(),
            classes: model.has_classes().then_some(classes),
            named,
            summary: model.summary()?.to_string(),
        })
    }
}

struct Service {
    facts: Facts,
    queue: Queue,
}

type Shared = State<Arc<Service>>;
type Body = Result<Bytes, BytesRejection>;

/// The routes: `/`, `/model`, `/predict`, `/along`.
pub fn router(facts: Facts, queue: Queue) -> Router {
    Router::new()
        .route("/", get(Html(include_str!("page.html"))))
        .route("/model", get(model))
        .route("/predict", post(predict))
        .route("/along", post(along))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(MOST_BYTES))
        .with_state(Arc::new(Service { facts, queue }))
}

async fn model(State(service): Shared) -> Response {
    Json(&service.facts).into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rows {
    rows: Vec<Vec<f32>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    row: Vec<f32>,
}

/// An answer to a row.
#[derive(Serialize)]
#[serde(untagged)]
enum Answer<'a> {
    Class {
        class: usize,
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<&'a str>,
        probabilities: &'a [f32],
    },
    Values {
        values: &'a [f32],
    },
}

#[derive(Serialize)]
struct Answers<'a> {
    answers: Vec<Answer<'a>>,
}

#[derive(Serialize)]
struct Values<'a> {
    values: Vec<&'a [f32]>,
}

/// An answer on the way from noise to target.
#[derive(Serialize)]
struct Point<'a> {
    t: f64,
    #[serde(flatten)]
    answer: Answer<'a>,
}

#[derive(Serialize)]
struct Along<'a> {
    points: Vec<Point<'a>>,
}

async fn predict(State(service): Shared, body: Body) -> Result<Response, Refusal> {
    let facts = &service.facts;
    let expected = format!(r#"{{"rows": [[{} numbers], …]}}"#, facts.inputs);
    let Rows { rows } = parse(&expected, body)?;
    let numbers = check(facts, &expected, &rows)?;
    let points = service.queue.ask(Question::Answer, numbers, rows.len()).await?;
    let answers = points.iter().flat_map(|(_, values)| values.chunks_exact(facts.outputs));
    Ok(match facts.classes {
        Some(_) => Json(Answers { answers: answers.map(|row| answer(facts, row)).collect() })
            .into_response(),
        None => Json(Values { values: answers.collect() }).into_response(),
    })
}

async fn along(State(service): Shared, body: Body) -> Result<Response, Refusal> {
    let facts = &service.facts;
    let expected = format!(r#"{{"row": [{} numbers]}}"#, facts.inputs);
    let Row { row } = parse(&expected, body)?;
    let numbers = check(facts, &expected, &[row])?;
    let points = service.queue.ask(Question::Along, numbers, 1).await?;
    if points.is_empty() {
        return Err(bad(
            "expected a model whose steps are known beforehand, found one whose solver chooses them \
             or adds noise: ask /predict for its answer",
        ));
    }
    let points =
        points.iter().map(|(t, row)| Point { t: *t, answer: answer(facts, row) }).collect();
    Ok(Json(Along { points }).into_response())
}

fn answer<'a>(facts: &'a Facts, row: &'a [f32]) -> Answer<'a> {
    let Some(names) = &facts.classes else { return Answer::Values { values: row } };
    let class =
        (1..row.len()).fold(0, |best, next| if row[next] > row[best] { next } else { best });
    let name = facts.named.then(|| names[class].as_str());
    Answer::Class { class, name, probabilities: row }
}

/// Why a request is refused.
struct Refusal(StatusCode, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, Json(serde_json::json!({ "error": self.1 }))).into_response()
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Refused(text) => bad(text),
            Fault::Failed(text) => Self(StatusCode::INTERNAL_SERVER_ERROR, text),
            Fault::Full { limit } => Self(
                StatusCode::SERVICE_UNAVAILABLE,
                format!(
                    "the queue is full: {limit} requests wait, and no more may. Try again in a \
                     moment, send more rows in a request, or start the server with a longer --queue"
                ),
            ),
            Fault::Ending => Self(
                StatusCode::SERVICE_UNAVAILABLE,
                "the server is ending: try again when it has been started again".into(),
            ),
        }
    }
}

fn bad(text: impl Into<String>) -> Refusal {
    Refusal(StatusCode::BAD_REQUEST, text.into())
}

fn parse<T: DeserializeOwned>(expected: &str, body: Body) -> Result<T, Refusal> {
    let body = body.map_err(|error| match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Refusal(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("expected a body of at most {MOST_BYTES} bytes, found more: send fewer rows"),
        ),
        status => Refusal(status, format!("expected {expected}, found {}", error.body_text())),
    })?;
    let none = if body.is_empty() { "an empty body: " } else { "" };
    serde_json::from_slice(&body)
        .map_err(|error| bad(format!("expected {expected} as JSON, found {none}{error}")))
}

/// The rows as one, if they suit the model.
fn check(facts: &Facts, expected: &str, rows: &[Vec<f32>]) -> Result<Vec<f32>, Refusal> {
    if rows.is_empty() || rows.len() > MOST_ROWS {
        let (found, advice) = match rows.is_empty() {
            true => ("none".into(), "send one or more"),
            false => (rows.len().to_string(), "send them in several requests"),
        };
        return Err(bad(format!("expected 1 to {MOST_ROWS} rows, found {found}: {advice}")));
    }
    for (i, row) in rows.iter().enumerate() {
        if row.len() != facts.inputs {
            let found = format!("{} numbers in row {i}", row.len());
            return Err(bad(format!("expected {expected}, found {found}: send rows as wide")));
        }
    }
    Ok(rows.concat())
}

async fn unknown(method: Method, uri: Uri) -> Refusal {
    let found = format!("{method} {}", uri.path());
    let expected = "GET /, GET /model, POST /predict or POST /along";
    Refusal(StatusCode::NOT_FOUND, format!("expected {expected}, found {found}"))
}

async fn wrong_method(method: Method, uri: Uri) -> Refusal {
    let expected = match uri.path() {
        "/" | "/model" => "GET",
        _ => "POST",
    };
    let error = format!("expected {expected} {0}, found {method} {0}", uri.path());
    Refusal(StatusCode::METHOD_NOT_ALLOWED, error)
}
