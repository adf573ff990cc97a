//! Health and readiness of a meter, by a clock that is moved by hand.

use super::*;
use crate::metrics::report::Report;
use deltacart_dataflows::Sizes;

fn report(at: Instant, caught_up: bool) -> Report {
    Report {
        at,
        is_last: false,
        tally: Default::default(),
        work: 0,
        items_sampled: 0,
        epoch: 0,
        open: 1,
        reached_end: caught_up,
        caught_up,
        lags: vec![],
        clocks: vec![],
        ids_remembered: 0,
        waiting: 0,
        registry: Default::default(),
        sizes: Sizes::default(),
    }
}

#[test]
fn ready_when_every_worker_has_caught_up_and_nothing_holds() {
    let (meter, now) = (Meter::default(), Instant::now());
    let why = |meter: &Meter| meter.readiness(now).expect_err("it is not ready");
    assert_eq!(why(&meter), "starting: 0 of 1 workers run");
    meter.starts(2, vec![]);
    meter.leave(0, report(now, true));
    assert_eq!(why(&meter), "starting: 1 of 2 workers run");
    meter.leave(1, report(now, false));
    assert!(why(&meter).starts_with("worker 1 is still reading"), "{}", why(&meter));
    meter.leave(1, Report { reached_end: true, ..report(now, false) });
    assert!(why(&meter).starts_with("worker 1 has read what there was"), "{}", why(&meter));
    meter.leave(1, report(now, true));
    assert_eq!(meter.readiness(now), Ok(()));
    assert!(meter.page(now).contains("\ndeltacart_ready 1\n"));
    meter.ready(false);
    assert_eq!(why(&meter), "the job is recovering");
    assert!(meter.page(now).contains("\ndeltacart_ready 0\n"));
    meter.ready(true);
    assert_eq!(meter.readiness(now), Ok(()));
}

#[test]
fn a_worker_that_does_not_come_round_is_neither_alive_nor_ready() {
    let (meter, start) = (Meter::default(), Instant::now());
    meter.starts(2, vec![]);
    meter.leave(0, report(start, true));
    meter.leave(1, report(start, true));
    let later = start + STUCK_AFTER + Duration::from_secs(1);
    assert_eq!(meter.health(start + STUCK_AFTER), Ok(()));
    meter.leave(0, report(later, true));
    assert_eq!(meter.health(later), Err("worker 1 has not come round for 31 s".to_owned()));
    assert_eq!(meter.readiness(later), meter.health(later));
    // One that is done need not come round.
    meter.leave(1, Report { is_last: true, ..report(start, true) });
    assert_eq!(meter.health(later), Ok(()));
}

#[test]
fn an_epochs_time_begins_with_its_first_record() {
    let (meter, start) = (Meter::default(), Instant::now());
    let at = |millis| start + Duration::from_millis(millis);
    meter.epoch_begun(3, at(0));
    meter.epoch_begun(3, at(40));
    meter.epoch_begun(5, at(50));
    meter.epochs_out(Some(5), at(100));
    meter.epochs_out(Some(5), at(150));
    let page = meter.page(at(150));
    assert!(page.contains("\ndeltacart_epoch_seconds_sum 0.1\n"), "{page}");
    assert!(page.contains("\ndeltacart_epoch_seconds_count 1\n"), "{page}");
    meter.epochs_out(None, at(250));
    let page = meter.page(at(250));
    assert!(page.contains("\ndeltacart_epoch_seconds_count 2\n"), "{page}");
    assert!(page.contains("deltacart_epoch_seconds_bucket{le=\"0.128\"} 1\n"), "{page}");
}

#[test]
fn a_snapshot_has_an_age() {
    let (meter, start) = (Meter::default(), Instant::now());
    assert!(!meter.page(start).contains("deltacart_snapshot_age_seconds"));
    meter.snapshot_taken(start, 0.5, 1234);
    let page = meter.page(start + Duration::from_secs(90));
    assert!(page.contains("\ndeltacart_snapshot_age_seconds 90.0\n"), "{page}");
    assert!(page.contains("\ndeltacart_snapshot_bytes 1234\n"), "{page}");
    assert!(page.contains("\ndeltacart_snapshot_seconds_count 1\n"), "{page}");
}

#[test]
fn every_reason_has_a_series_from_the_start() {
    let page = Meter::default().page(Instant::now());
    for reason in deltacart_inputs::Reason::ALL {
        for family in ["deltacart_rejects_total", "deltacart_rejected_lines_total"] {
            assert!(
                page.contains(&format!("\n{family}{{reason=\"{reason}\"}} 0\n")),
                "{family} {reason}: {page}"
            );
        }
    }
    for flaw in deltacart_inputs::Flaw::ALL {
        let series = format!("\ndeltacart_unreadable_fields_total{{field=\"{flaw}\"}} 0\n");
        assert!(page.contains(&series), "{flaw}: {page}");
    }
}
