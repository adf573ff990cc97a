//! Answers equal the plain model's after every epoch: every way, every exclusion, every number of workers.

use crate::harness::{self, params};
use crate::shop::{Random, churn, epochs, evidence, item_name};
use deltacart_dataflows::{
    Action, Algorithm, AnswerParams, Blend, Combine, Epoch, Event, Exclude, List, ListParams, Measure, Model,
    Name, Neighbour, Params, Question, QuestionAnswer, Requests, Subject, Way, model_answers, recommend,
    recommend_core,
};
use deltacart_testing::{Shop, Size};
use proptest::prelude::*;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;
use std::rc::Rc;
use timely::dataflow::InputHandle;
use timely::dataflow::operators::{Input, Inspect};

/// The answers of all subjects that have one.
type Answers = BTreeMap<Subject, List>;

/// An update of an answer.
type Update = (Epoch, Subject, isize, List);

/// Settings of every kind.
pub(crate) fn answer_settings() -> impl Strategy<Value = AnswerParams> {
    let weight = || prop_oneof![Just(0.0), 0.1f64..2.0];
    let way = prop_oneof![
        2 => Just(Way::Lists),
        4 => Just(Way::Baskets),
        2 => Just(Way::Own),
        3 => (weight(), weight(), weight())
            .prop_filter("one way at least", |(lists, baskets, own)| lists + baskets + own > 0.0)
            .prop_map(|(lists, baskets, own)| Way::Blend(Blend { lists, baskets, own })),
    ];
    let sizes = (
        0usize..6,
        0usize..6,
        1usize..6,
        prop_oneof![1usize..4, Just(1000)],
        prop_oneof![1usize..4, Just(100)],
    );
    let decays = (
        prop_oneof![Just(1.0), 0.3f64..1.0],
        prop_oneof![Just(1.0), 0.3f64..1.0],
        prop_oneof![Just(0.0), Just(2.0), 0.0f64..4.0],
        0.0f64..1.0,
    );
    let rules = (
        prop_oneof![Just(Combine::Sum), Just(Combine::Max)],
        prop_oneof![Just(Exclude::Cart), Just(Exclude::Last), Just(Exclude::None)],
        prop_oneof![Just(5000usize), 0usize..8],
        prop_oneof![Just(None), (1u64..60).prop_map(NonZeroU64::new)],
    );
    (way, sizes, decays, rules).prop_map(|(by, sizes, decays, rules)| {
        let (carts, users, items, recent, neighbours) = sizes;
        let (position_decay, match_decay, match_idf, idf) = decays;
        let (combine, exclude, own_lines, own_half_life) = rules;
        AnswerParams {
            carts,
            users,
            by,
            items,
            position_decay,
            combine,
            recent,
            neighbours,
            match_decay,
            match_idf,
            idf,
            own_lines,
            own_half_life,
            exclude,
            refresh: None,
            refresh_max: 1_000_000,
        }
    })
}

/// The settings of a job with answers.
pub(crate) fn settings(measure: Measure, k: usize, open_for: u64, answers: AnswerParams) -> Params {
    let params = params(Algorithm::Fast, measure, k);
    Params { open_for: NonZeroU64::new(open_for), answers: Some(answers), ..params }
}

/// Runs the dataflow, and refreshes all subjects at every epoch. Returns the answers after each epoch.
fn run(epochs: &[Vec<Event>], params: Params, workers: usize) -> Vec<Answers> {
    let shared = epochs.to_vec();
    let guards = timely::execute(timely::Config::process(workers), move |worker| {
        let (index, peers) = (worker.index(), worker.peers());
        let mut input = InputHandle::new();
        let updates: Rc<RefCell<Vec<Update>>> = Rc::default();
        let (carts, users) = (Rc::clone(&updates), Rc::clone(&updates));
        worker.dataflow(|scope| {
            let recommendations = recommend(scope.input_from(&mut input), params);
            recommendations.carts.inner.inspect(move |((name, list), epoch, diff)| {
                carts.borrow_mut().push((*epoch, Subject::Cart(name.clone()), *diff, list.clone()));
            });
            recommendations.users.inner.inspect(move |((name, list), epoch, diff)| {
                users.borrow_mut().push((*epoch, Subject::User(name.clone()), *diff, list.clone()));
            });
        });
        for (epoch, events) in (0..).zip(&shared) {
            let mine = events.iter().enumerate().filter(|(number, _event)| number * 7 % peers == index);
            mine.for_each(|(_number, event)| input.send(event.clone()));
            input.advance_to(epoch + 1);
            worker.step();
        }
        drop(input);
        while worker.has_dataflows() {
            worker.step_or_park(Some(std::time::Duration::from_millis(50)));
        }
        updates.take()
    });
    let mut updates: Vec<Update> = guards.unwrap().join().into_iter().flat_map(Result::unwrap).collect();
    updates.sort();
    let mut rest = updates.as_slice();
    let mut answers = Answers::new();
    let after = (0..epochs.len() as Epoch).map(|epoch| {
        let (now, later) = rest.split_at(rest.partition_point(|update| update.0 <= epoch));
        rest = later;
        for (_epoch, subject, diff, list) in now {
            assert!(!list.is_empty(), "an empty answer is no answer");
            match diff {
                -1 => assert_eq!(answers.remove(subject).as_ref(), Some(list), "what goes was there"),
                1 => assert_eq!(
                    answers.insert(subject.clone(), list.clone()),
                    None,
                    "what comes was not there"
                ),
                _ => panic!("an answer comes once and goes once"),
            }
        }
        answers.clone()
    });
    after.collect()
}

/// Fails, naming the first epoch and subject, where an answer is not the model's.
fn check(epochs: &[Vec<Event>], params: Params, workers: usize) {
    let answers = params.answers.unwrap();
    let mut model = Model::new(params);
    for (epoch, (events, actual)) in epochs.iter().zip(run(epochs, params, workers)).enumerate() {
        events.iter().for_each(|event| model.apply(event));
        model.end_epoch();
        let expected = model_answers(&model.states(), &model.lists(), params.lists, answers);
        let mut subjects = expected.keys().chain(actual.keys());
        if let Some(subject) = subjects.find(|&subject| expected.get(subject) != actual.get(subject)) {
            let (expected, actual) = (expected.get(subject), actual.get(subject));
            panic!(
                "{answers:?} on {workers} workers, epoch {epoch}, {subject:?}:\nexpected {expected:?}\n  actual {actual:?}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, ..ProptestConfig::default() })]

    #[test]
    fn random_events(epochs in epochs(), answers in answer_settings(), which in 0usize..8, k in 1usize..8,
        open_for in prop_oneof![1u64..60, Just(1 << 40)], workers in 1usize..=4, evidence in evidence()) {
        let params = settings(Measure::ALL[which], k, open_for, answers);
        check(&epochs, Params { evidence, ..params }, workers);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, ..ProptestConfig::default() })]

    /// Items become frequent and rare again, so lists of recent baskets are cut, run short and are made again.
    #[test]
    fn everything_comes_and_goes(seed in any::<u64>(), answers in answer_settings(), workers in 1usize..=3) {
        check(&churn(seed), settings(Measure::Cosine, 4, 1 << 40, answers), workers);
    }
}

/// What a dataflow is asked after its last event, and its answers by number.
fn ask(events: &[Event], params: Params, questions: &[Question], workers: usize) -> BTreeMap<u64, List> {
    let (events, questions) = (events.to_vec(), questions.to_vec());
    let guards = timely::execute(timely::Config::process(workers), move |worker| {
        let (index, peers) = (worker.index(), worker.peers());
        let (mut input, mut asking) = (InputHandle::new(), InputHandle::new());
        let answers: Rc<RefCell<Vec<QuestionAnswer>>> = Rc::default();
        let sink = Rc::clone(&answers);
        worker.dataflow(|scope| {
            let requests = Requests { questions: Some(scope.input_from(&mut asking)), ..Requests::default() };
            let recommendations = recommend_core(scope.input_from(&mut input), params, requests);
            recommendations.question_answers.inspect(move |answer| sink.borrow_mut().push(answer.clone()));
        });
        let is_mine = |number: usize| number % peers == index;
        let mine = events.iter().enumerate().filter(|(number, _event)| is_mine(*number));
        mine.for_each(|(_number, event)| input.send(event.clone()));
        // Questions come with the events of their epoch, and are answered at its end.
        let mine = questions.iter().filter(|question| is_mine(question.number as usize));
        mine.for_each(|question| asking.send(question.clone()));
        drop((input, asking));
        while worker.has_dataflows() {
            worker.step_or_park(Some(std::time::Duration::from_millis(50)));
        }
        answers.take()
    });
    let answers = guards.unwrap().join().into_iter().flat_map(Result::unwrap);
    let mut by_number = BTreeMap::new();
    for QuestionAnswer { number, list } in answers {
        assert_eq!(by_number.insert(number, list), None, "a question is answered once");
    }
    by_number
}

/// Carts of tea, milk, a mug and honey, by users of their own.
fn small_shop() -> Vec<Event> {
    let lines = [
        ("b1", "ann", "tea"),
        ("b1", "ann", "milk"),
        ("b2", "ben", "tea"),
        ("b2", "ben", "mug"),
        ("b3", "cem", "tea"),
        ("b3", "cem", "mug"),
        ("b3", "cem", "honey"),
        ("b4", "dia", "milk"),
        ("b4", "dia", "honey"),
        ("b5", "ann", "lemon"),
    ];
    (0..)
        .zip(lines)
        .map(|(offset, (basket, user, item))| {
            harness::event(offset, basket, Some(user), Action::Purchase(item.into(), 1))
        })
        .collect()
}

/// The question, from a basket.
fn in_basket(basket: &str, question: Question) -> Question {
    Question { basket: Some(basket.into()), ..question }
}

fn names(list: &List) -> Vec<&str> {
    list.iter().map(|entry| entry.item.as_str()).collect()
}

/// Every way, on a shop that can be counted by hand, for a question about tea.
#[test]
fn a_question_by_hand() {
    let all = Blend { lists: 1.0, baskets: 1.0, own: 1.0 };
    let plain = AnswerParams { position_decay: 1.0, match_decay: 1.0, idf: 0.0, ..AnswerParams::default() };
    let params = settings(Measure::Count, 10, 1000, AnswerParams { by: Way::Blend(all), ..plain });
    let question = |number, by, exclude, items: &[&str], user: Option<&str>| Question {
        number,
        items: items.iter().map(|&item| item.into()).collect(),
        user: user.map(Name::from),
        basket: None,
        k: 10,
        params: Some(AnswerParams { by, exclude, ..plain }),
    };
    let questions = [
        question(0, Way::Lists, Exclude::Cart, &["tea"], None),
        question(1, Way::Baskets, Exclude::Cart, &["tea"], None),
        question(2, Way::Own, Exclude::Cart, &["tea"], Some("ann")),
        question(3, Way::Own, Exclude::None, &["tea"], Some("ann")),
        question(4, Way::Baskets, Exclude::None, &["honey", "mug"], None),
        question(5, Way::Baskets, Exclude::Cart, &["unheard of"], Some("nobody")),
        question(6, Way::Lists, Exclude::Last, &["honey", "mug"], None),
        in_basket("b1", question(7, Way::Baskets, Exclude::None, &["tea"], None)),
        in_basket("b1", question(8, Way::Own, Exclude::Cart, &["tea"], Some("ann"))),
        in_basket("unheard of", question(9, Way::Baskets, Exclude::Cart, &["tea"], None)),
    ];
    for workers in 1..=4 {
        let answers = ask(&small_shop(), params, &questions, workers);
        // c(tea, mug) = 2, c(tea, milk) = c(tea, honey) = 1; ties by name.
        assert_eq!(names(&answers[&0]), ["mug", "honey", "milk"]);
        // b1 and b2 are 1/√2 near, b3 is 1/√3 near: mug has 1/√2 + 1/√3, milk 1/√2, honey 1/√3.
        assert_eq!(names(&answers[&1]), ["mug", "milk", "honey"]);
        assert_eq!(answers[&1][0].score, 1284);
        // Milk is in as many of ann's baskets as lemon, and in more of all.
        assert_eq!(names(&answers[&2]), ["milk", "lemon"]);
        assert_eq!(names(&answers[&3]), ["tea", "milk", "lemon"]);
        // b3 shares both: 2/√3; b2 and b4 share one: 1/√2. Mug and honey have both, tea too, milk has b4.
        assert_eq!(names(&answers[&4]), ["honey", "mug", "tea", "milk"]);
        assert_eq!(answers[&5], []);
        // Honey is the last; mug stays. tea: 1 + 2, mug: 1, milk: 1.
        assert_eq!(names(&answers[&6]), ["tea", "milk", "mug"]);
        // b1 is the question's own: milk has no other basket with tea, and ann had lemon only.
        assert_eq!(names(&answers[&7]), ["mug", "tea", "honey"]);
        assert_eq!(names(&answers[&8]), ["lemon"]);
        assert_eq!(answers[&9], answers[&1]);
        assert_eq!(answers.len(), questions.len());
    }
}

/// With a basket for each user, answers by baskets are user-based collaborative filtering as textbooks have it: the
/// nearest users by cosine of binary vectors, each item scored by the sum of the similarities of those who have it.
#[test]
fn baskets_of_users_are_collaborative_filtering() {
    let mut random = Random::new(11);
    let mut events = Vec::new();
    let mut users: BTreeMap<String, BTreeSet<Name>> = BTreeMap::new();
    for offset in 0..900 {
        let (user, item) =
            (format!("u{}", random.below(60)), item_name(random.below(40).min(random.below(40))));
        events.push(harness::event(offset, &user, Some(&user), Action::Add(item.clone(), 1)));
        users.entry(user).or_default().insert(item);
    }
    const NEIGHBOURS: usize = 7;
    let answers = AnswerParams {
        carts: 12,
        items: 32,
        position_decay: 1.0,
        match_decay: 1.0,
        idf: 0.0,
        neighbours: NEIGHBOURS,
        ..AnswerParams::default()
    };
    let actual = run(&[events], settings(Measure::Cosine, 10, 1 << 40, answers), 2).pop().unwrap();
    let mut compared = 0;
    for (user, items) in &users {
        let cosine = |other: &BTreeSet<Name>| {
            items.intersection(other).count() as f64 / (items.len() as f64 * other.len() as f64).sqrt()
        };
        let others = users.iter().filter(|(other, _items)| *other != user);
        let mut near: Vec<(f64, &BTreeSet<Name>)> = others.map(|(_, items)| (cosine(items), items)).collect();
        near.sort_by(|x, y| y.0.total_cmp(&x.0));
        if near[NEIGHBOURS - 1].0 - near[NEIGHBOURS].0 < 1e-9 {
            // Textbooks do not say which of two users that are as near is taken.
            continue;
        }
        let mut scores: BTreeMap<&Name, f64> = BTreeMap::new();
        for (similarity, theirs) in &near[..NEIGHBOURS] {
            theirs.difference(items).for_each(|item| *scores.entry(item).or_default() += similarity);
        }
        let list = &actual[&Subject::Cart(user.as_str().into())];
        assert_eq!(list.len(), scores.len().min(12), "{user}");
        // √|own items| is the same for all: the order is that of the textbook, but for ties and rounding.
        let of = |entry: &Neighbour| scores[&entry.item];
        assert!(list.windows(2).all(|pair| of(&pair[0]) >= of(&pair[1]) - 1e-4), "{user}");
        let worst = of(list.last().unwrap());
        let left_out = scores.iter().filter(|(item, _score)| !list.iter().any(|entry| entry.item == **item));
        assert!(left_out.map(|(_item, score)| *score).all(|score| score <= worst + 1e-4), "{user}");
        compared += 1;
    }
    assert!(compared > 30, "{compared} users have neighbours without ties");
}

/// A user is forgotten: from that epoch on, the answers of all others are those of a shop that never saw them. Answers
/// are not refreshed otherwise.
#[test]
fn a_forgotten_user_leaves_no_trace() {
    let mut random = Random::new(5);
    let cart = |offset, user: u64, item: u64| {
        let (basket, user) = (format!("b{user}"), format!("u{user}"));
        harness::event(offset, &basket, Some(&user), Action::Add(item_name(item), 1))
    };
    let events: Vec<Event> =
        (0..400).map(|offset| cart(offset, random.below(30), random.below(25))).collect();
    let is_theirs = |event: &Event| event.user.as_deref() == Some("u3");
    let others: Vec<Event> = events.iter().filter(|event| !is_theirs(event)).cloned().collect();
    let forget = Event { basket: Name::default(), ..harness::event(400, "", Some("u3"), Action::ForgetUser) };
    for by in [Way::Lists, Way::Baskets, Way::Own, Way::Blend(Blend { lists: 1.0, baskets: 1.0, own: 1.0 })] {
        let exclude = Exclude::None;
        let answers = AnswerParams { by, exclude, users: 5, refresh_max: 0, ..AnswerParams::default() };
        let params = settings(Measure::Cosine, 10, 1 << 40, answers);
        let (before, after) = {
            let mut epochs = run(&[events.clone(), vec![forget.clone()]], params, 2);
            let after = epochs.pop().unwrap();
            (epochs.pop().unwrap(), after)
        };
        let never = run(std::slice::from_ref(&others), params, 3).pop().unwrap();
        assert_ne!(before, after);
        assert_eq!(after, never, "{by:?}");
        assert!(!after.is_empty());
    }
}

/// Shops between the toy and the benchmark. The model takes long: it is asked at the end.
#[test]
fn shops_of_any_size() {
    for seed in 0..24 {
        let shop = Shop::draw(seed, [Size::Small, Size::Dense][seed as usize % 2]);
        let mut random = Random::new(seed);
        let by = match random.below(4) {
            0 => Way::Lists,
            1 => Way::Own,
            2 => Way::Baskets,
            _ => Way::Blend(Blend { lists: 0.5, baskets: 1.0, own: 0.25 }),
        };
        let recent = 1 << random.below(9);
        let answers = AnswerParams {
            by,
            recent,
            users: 3,
            refresh: None,
            refresh_max: 1_000_000,
            ..AnswerParams::default()
        };
        let events: Vec<Event> = shop.events.iter().take(4000).cloned().collect();
        let epochs: Vec<Vec<Event>> =
            events.chunks(shop.plan.epoch_events.max(400)).map(<[_]>::to_vec).collect();
        let lists = shop.plan.params.lists;
        let lists = ListParams { scores: true, ..lists };
        let params = settings(Measure::Cosine, 10, 1 << 40, answers);
        let params = Params { lists, evidence: shop.plan.params.evidence, ..params };
        let actual = run(&epochs, params, shop.plan.workers).pop().unwrap();
        let mut model = Model::new(params);
        for events in &epochs {
            events.iter().for_each(|event| model.apply(event));
            model.end_epoch();
        }
        let expected = model_answers(&model.states(), &model.lists(), params.lists, answers);
        assert_eq!(actual.len(), expected.len(), "seed {seed}");
        for (subject, expected) in &expected {
            assert_eq!(actual.get(subject), Some(expected), "seed {seed}, {subject:?}, {answers:?}");
        }
    }
}

/// With views as evidence, whoever looks has a cart: a view opens it and touches it, and what was bought is out of it.
/// Without, a view changes nothing.
#[test]
fn a_view_opens_a_cart() {
    let item = |name: &str| Name::from(name);
    let buy = |offset, basket, name| harness::event(offset, basket, None, Action::Purchase(item(name), 1));
    let ann = |offset, action| harness::event(offset, "a", Some("ann"), action);
    let epochs = [
        vec![buy(0, "1", "tea"), buy(1, "1", "milk"), buy(2, "2", "mug"), buy(3, "2", "pot")],
        vec![ann(4, Action::View(item("tea")))],
        vec![ann(5, Action::View(item("mug")))],
        vec![ann(6, Action::View(item("tea")))],
        vec![ann(7, Action::Purchase(item("tea"), 1))],
    ];
    let by = Way::Baskets;
    let answers = AnswerParams { by, items: 1, users: 5, refresh: None, ..AnswerParams::default() };
    let params = settings(Measure::Cosine, 10, 1 << 40, answers);
    let run = |evidence: &str| {
        let params = Params { evidence: evidence.parse().unwrap(), ..params };
        check(&epochs, params, 2);
        let of = |answers: &Answers, subject| answers.get(&subject).map(|list| names(list).join(" "));
        let cart = |answers: &Answers| of(answers, Subject::Cart("a".into()));
        let user = |answers: &Answers| of(answers, Subject::User("ann".into()));
        run(&epochs, params, 2).iter().map(|answers| (cart(answers), user(answers))).collect::<Vec<_>>()
    };
    let is = |items: &str| (Some(items.to_owned()), Some(items.to_owned()));
    let seen = run("view,purchase");
    // The item touched last counts: the second view of tea makes it tea again.
    assert_eq!(seen[..4], [(None, None), is("milk"), is("pot"), is("milk")]);
    assert_eq!(seen[4].0.as_deref(), Some("pot"), "tea is bought: the mug is what ann looks at");
    assert_eq!(run("add,purchase")[..4], [(None, None), (None, None), (None, None), (None, None)]);
}
