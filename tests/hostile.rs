//! What hooks, layers and messages of somebody else's can do to a run: nothing, or an error.

mod common;

use std::{
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    time::Duration,
};

use common::blobs;
use dfdx::nn::ZeroSizedModule;
use dfdx_noprop::{
    data::Labels,
    device::Rows,
    distributed::{Communicator, Settings, Topic, Transport},
    nn::image::Images,
    prelude::*,
    train::{EpochReport, Observer, StepReport},
};

type Small = NoProp<DiscreteTime, ConditionalResNetDt<4, 5, 8>, 4, 5>;

fn fit() -> Fit {
    Fit { epochs: 3, batch_size: 8, threads: Some(2), ..Fit::default() }
}

fn bits<V: Variant<4, 5, Head = OneHot>, M: Suits<V, 4, 5>>(
    model: &NoProp<V, M, 4, 5>,
    data: &Dataset<5, Labels<4>>,
) -> Vec<[u32; 4]> {
    let rows = model.predict_proba(data.samples()).unwrap();
    rows.into_iter().map(|row| row.map(f32::to_bits)).collect()
}

#[test]
fn a_hook_that_panics_leaves_a_run_that_goes_on_exactly() {
    let data = blobs::<4, 5>(50, 1);
    // 25 steps an epoch, of which 16 are one span.
    let fit = || Fit { batch_size: 2, ..fit() };
    let new = || Small::new(&AutoDevice::default(), DiscreteTime::default()).unwrap();
    let mut whole = new();
    whole.fit(&data, &fit()).unwrap();
    for panics_at in [0, 1, 17, 24, 25, 45] {
        let mut model = new();
        let mut batches = 0;
        let run = catch_unwind(AssertUnwindSafe(|| {
            let hook = |_: &mut _, _: &mut _| {
                assert!(batches < panics_at, "on purpose");
                batches += 1;
            };
            model.training(&fit()).each_batch(hook).run(&data)
        }));
        assert!(run.is_err());
        model.fit(&data, &fit()).unwrap();
        assert_eq!(model.steps(), 75, "after a panic at {panics_at}");
        assert_eq!(bits(&model, &data), bits(&whole, &data), "after a panic at {panics_at}");
    }
}

/// Fails once, at a step.
struct Failing {
    at: u64,
    panics: bool,
}

impl Observer for Failing {
    fn step(&mut self, report: &StepReport) -> Result<ControlFlow<()>, Error> {
        if report.step != self.at {
            return Ok(ControlFlow::Continue(()));
        }
        assert!(!self.panics, "on purpose");
        let message = std::io::Error::other("on purpose");
        Err(Error::Io { path: "observer".into(), operation: "write", source: message })
    }
}

#[test]
fn an_observer_that_fails_in_a_span_takes_nothing_of_the_epoch_with_it() {
    let data = blobs::<4, 5>(50, 1);
    // 25 steps an epoch, of which 16 are one span.
    let fit = Fit { batch_size: 2, ..fit() };
    let new = || Small::new(&AutoDevice::default(), DiscreteTime::default()).unwrap();
    let untimed = |epochs: Vec<EpochReport>| -> Vec<EpochReport> {
        epochs.into_iter().map(|epoch| EpochReport { seconds: 0.0, ..epoch }).collect()
    };
    let mut whole = new();
    let reports = untimed(whole.fit(&data, &fit).unwrap());
    for (at, before) in [(1, 0), (10, 0), (25, 0), (26, 1), (50, 1), (75, 2)] {
        for panics in [false, true] {
            let (mut model, mut failing) = (new(), Failing { at, panics });
            let run = || model.training(&fit).observer(&mut failing).run(&data).map(|_| ());
            let result = catch_unwind(AssertUnwindSafe(run));
            assert!(result.is_err() == panics && !matches!(result, Ok(Ok(_))));
            let rest = untimed(model.fit(&data, &fit).unwrap());
            assert_eq!(rest, reports[before..], "after a failure at {at}");
            assert_eq!((model.steps(), model.epochs()), (75, 3), "after a failure at {at}");
            assert_eq!(bits(&model, &data), bits(&whole, &data), "after a failure at {at}");
        }
    }
}

/// The calls of [`Fragile`] that are left before it panics.
static LEFT: AtomicU64 = AtomicU64::new(u64::MAX);

/// û = u, until it panics.
#[derive(Clone, Debug, Default)]
struct Fragile;

impl ZeroSizedModule for Fragile {}
impl NonMutableModule for Fragile {}
impl<const N: usize, T: Tape<f32, AutoDevice>> Module<Rows<Const<N>, f32, AutoDevice, T>>
    for Fragile
{
    type Output = Rows<Const<N>, f32, AutoDevice, T>;
    type Error = <AutoDevice as HasErr>::Err;

    fn try_forward(
        &self,
        x: Rows<Const<N>, f32, AutoDevice, T>,
    ) -> Result<Self::Output, Self::Error> {
        let left =
            LEFT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        assert!(left.is_ok(), "on purpose");
        Ok(x)
    }
}

#[test]
fn a_layer_that_panics_in_a_step_leaves_a_trainer_that_says_so() {
    type Block =
        (Condition<Dense<4, 8>, Dense<5, 8>>, Custom<Fragile, Width<8>, Width<8>>, Dense<8, 4>);
    type Model = NoProp<DiscreteTime, Block, 4, 5>;
    let data = blobs::<4, 5>(50, 1);
    let variant = DiscreteTime { blocks: 3, ..DiscreteTime::default() };
    let new = || Model::new(&AutoDevice::default(), variant.clone()).unwrap();
    LEFT.store(u64::MAX, Ordering::Relaxed);
    let mut whole = new();
    whole.fit(&data, &fit()).unwrap();
    let mut model = new();
    LEFT.store(10, Ordering::Relaxed);
    assert!(catch_unwind(AssertUnwindSafe(|| model.fit(&data, &fit()))).is_err());
    LEFT.store(u64::MAX, Ordering::Relaxed);
    let error = model.fit(&data, &fit()).unwrap_err().to_string();
    assert!(error.starts_with("NoProp::fit: expected a trainer that is whole"), "{error}");
    #[cfg(feature = "checkpoint")]
    {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("whole.safetensors");
        assert!(model.save(&path).is_err() && !path.exists());
        whole.save(&path).unwrap();
        model.load(&path).unwrap();
        model.fit(&data, &fit()).unwrap();
        whole.fit(&data, &fit()).unwrap();
        assert_eq!(bits(&model, &data), bits(&whole, &data));
    }
}

/// ĥ = h for images.
#[derive(Clone, Debug, Default)]
struct Same;

impl ZeroSizedModule for Same {}
impl NonMutableModule for Same {}
impl<const C: usize, const H: usize, const W: usize, T: Tape<f32, AutoDevice>>
    Module<Images<C, H, W, f32, AutoDevice, T>> for Same
{
    type Output = Images<C, H, W, f32, AutoDevice, T>;
    type Error = <AutoDevice as HasErr>::Err;

    fn try_forward(
        &self,
        x: Images<C, H, W, f32, AutoDevice, T>,
    ) -> Result<Self::Output, Self::Error> {
        Ok(x)
    }
}

#[test]
fn a_module_of_ones_own_takes_and_gives_images() {
    type Block<T> = (Condition<Dense<10, 8>, T>, dfdx::prelude::ReLU, Dense<8, 10>);
    type End = (MaxPool2d<4, 4>, Flatten<32>, Dense<32, 8>);
    type Usual = Block<(Planes<1, 8, 8>, Conv2d<1, 2, 8, 8>, End)>;
    type Between = Custom<Same, Image<2, 8, 8>, Image<2, 8, 8>>;
    type Own = Block<(Planes<1, 8, 8>, Conv2d<1, 2, 8, 8>, Between, End)>;

    fn trained<M: Suits<DiscreteTime, 10, 64>>() -> Vec<[u32; 10]> {
        let variant = DiscreteTime { blocks: 2, ..DiscreteTime::default() };
        let mut model = M::model(&AutoDevice::default(), variant).unwrap();
        let rows = Dataset::new(
            (0..640).map(|i| (i % 7) as f32).collect(),
            Labels::<10>::new((0..10).collect()).unwrap(),
        );
        let rows = rows.unwrap();
        model.fit(&rows, &Fit { epochs: 4, batch_size: 4, ..Fit::default() }).unwrap();
        let answers = model.predict_proba(rows.samples()).unwrap();
        answers.into_iter().map(|row| row.map(f32::to_bits)).collect()
    }
    assert_eq!(trained::<Own>(), trained::<Usual>());
}

/// What happens to one message of a rank.
#[derive(Clone, Copy, Debug)]
enum Accident {
    Doubled,
    Lost,
    /// The bit, counted from the first or modulo the length.
    Bit(usize),
    Cut,
}

type Message = (usize, Topic, Vec<u8>);

/// Ranks in this process, one message of one of which has an accident.
struct Channels {
    rank: usize,
    others: Vec<Sender<Message>>,
    inbox: Receiver<Message>,
    waiting: Vec<Message>,
    /// How many messages go by before it.
    left: usize,
    accident: Accident,
}

impl Channels {
    fn group(ranks: usize, unlucky: usize, left: usize, accident: Accident) -> Vec<Self> {
        let (others, inboxes): (Vec<_>, Vec<_>) = (0..ranks).map(|_| channel()).unzip();
        let one = |(rank, inbox)| {
            let left = if rank == unlucky { left } else { usize::MAX };
            Self { rank, others: others.clone(), inbox, waiting: Vec::new(), left, accident }
        };
        inboxes.into_iter().enumerate().map(one).collect()
    }
}

impl Transport for Channels {
    fn rank(&self) -> usize {
        self.rank
    }

    fn ranks(&self) -> usize {
        self.others.len()
    }

    fn send(&mut self, to: usize, topic: Topic, mut message: Vec<u8>) -> Result<(), Error> {
        let post = |message| drop(self.others[to].send((self.rank, topic, message)));
        if topic == Topic::Alarm {
            post(message);
            return Ok(());
        }
        let now = self.left == 0;
        self.left = self.left.wrapping_sub(1);
        match self.accident {
            Accident::Doubled if now => post(message.clone()),
            Accident::Lost if now => return Ok(()),
            Accident::Bit(bit) if now => {
                let bit = bit % (8 * message.len());
                message[bit / 8] ^= 1 << (bit % 8);
            }
            Accident::Cut if now => message.truncate(message.len() / 2),
            _ => {}
        }
        post(message);
        Ok(())
    }

    fn receive(
        &mut self,
        from: Option<usize>,
        topic: Topic,
    ) -> Result<Option<(usize, Vec<u8>)>, Error> {
        self.waiting.extend(self.inbox.try_iter());
        let wanted =
            |(rank, about, _): &Message| from.is_none_or(|from| from == *rank) && *about == topic;
        let found = self.waiting.iter().position(wanted).map(|at| self.waiting.remove(at));
        Ok(found.map(|(rank, _, message)| (rank, message)))
    }
}

/// What each rank has after a run of continuous time, in which the gradients of all are summed.
fn ranks_with(
    unlucky: usize,
    left: usize,
    accident: Accident,
) -> Vec<Result<Vec<[u32; 4]>, Error>> {
    let settings = Settings { time_out: Duration::from_millis(300), ..Settings::default() };
    let data = blobs::<4, 5>(24, 1);
    let one = |channels: Channels| {
        let communicator = Communicator::new(channels, settings)?;
        type Net = ConditionalResNetCt<4, 5, 8>;
        let (device, variant) = (AutoDevice::default(), ContinuousTime::default());
        let mut model =
            NoProp::<ContinuousTime, Net, 4, 5>::distributed(&device, variant, &communicator)?;
        model.fit(&data, &Fit { epochs: 1, batch_size: 12, threads: Some(1), ..Fit::default() })?;
        let rows = model.predict_proba(data.samples())?;
        Ok(rows.into_iter().map(|row: [f32; 4]| row.map(f32::to_bits)).collect())
    };
    std::thread::scope(|scope| {
        let ranks = Channels::group(3, unlucky, left, accident).into_iter();
        let threads: Vec<_> = ranks.map(|channels| scope.spawn(|| one(channels))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn a_message_that_is_doubled_lost_or_damaged_is_never_another_answer() {
    let usual = ranks_with(0, usize::MAX, Accident::Lost);
    let usual = usual[0].as_ref().unwrap();
    let (mut errors, mut unharmed) = (0, 0);
    for accident in
        [Accident::Doubled, Accident::Lost, Accident::Bit(3), Accident::Bit(77), Accident::Cut]
    {
        for (unlucky, left) in [(0, 0), (0, 3), (1, 1), (2, 4), (1, 6), (0, 9), (2, 12)] {
            for rank in ranks_with(unlucky, left, accident) {
                match rank {
                    Ok(answers) => {
                        assert_eq!(answers, *usual, "{accident:?} of rank {unlucky}, {left}");
                        unharmed += 1;
                    }
                    Err(Error::Rank { .. }) => errors += 1,
                    Err(error) => panic!("{accident:?}: {error}"),
                }
            }
        }
    }
    // Some ranks are done before they could hear of it, and a last message may be doubled.
    assert!(errors > 60 && errors + unharmed == 105, "{errors} errors, {unharmed} unharmed");
}

#[test]
fn losses_that_are_not_finite_on_the_way_do_not_reach_the_weights() {
    let estimator = WeightNoise { noise_scale: 1e25, ..WeightNoise::default() }.into();
    let variant = DiscreteTime { blocks: 2, estimator, ..DiscreteTime::default() };
    let data = blobs::<4, 5>(50, 1);
    let mut model = Small::new(&AutoDevice::default(), variant).unwrap();
    let error = model.fit(&data, &fit()).unwrap_err();
    assert!(matches!(error, Error::Diverged { .. }), "{error}");
    assert!(model.predict(data.samples()).is_ok());
}
