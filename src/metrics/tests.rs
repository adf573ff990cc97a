//! Health and readiness of a meter, with times that the test chooses.

use super::*;
use crate::metrics::report::{Report, Step};
use deltacart_dataflows::StateStats;
use deltacart_inputs::Lag;

fn lag(number: u32, offsets: u64) -> (PartitionLabel, Lag) {
    let label = PartitionLabel { kind: "topic", name: "carts".to_owned(), number };
    (label, Lag { partition: number, offsets, hidden: 0 })
}

fn report(at: Instant, caught_up: bool) -> Report {
    Report {
        at,
        is_last: false,
        tally: Default::default(),
        work: 0,
        items_sampled: 0,
        epoch: 0,
        open: 1,
        step: Step::Reading,
        reached_end: caught_up,
        caught_up,
        lags: vec![],
        clocks: vec![],
        ids_remembered: 0,
        waiting: 0,
        registry: Default::default(),
        stats: StateStats::default(),
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
    assert_eq!(why(&meter), "worker 1 is still reading what there was: 0 records so far");
    meter.leave(1, Report { lags: vec![lag(0, 7), lag(2, 3)], ..report(now, false) });
    assert_eq!(why(&meter), "worker 1 is still reading what there was: 0 of 10 records");
    meter.leave(1, Report { step: Step::ReadingOutput { records: 5 }, ..report(now, false) });
    assert_eq!(why(&meter), "worker 1 is reading what the output holds: 5 records so far");
    meter.leave(1, Report { step: Step::Restoring, ..report(now, false) });
    assert_eq!(why(&meter), "worker 1 is restoring a snapshot");
    meter.leave(1, Report { reached_end: true, ..report(now, false) });
    assert!(why(&meter).starts_with("worker 1 has read what there was"), "{}", why(&meter));
    meter.leave(1, report(now, true));
    assert_eq!(meter.readiness(now), Ok(()));
    assert!(meter.page(now).contains("\ndeltacart_ready 1\n"));
    meter.wait_for("the other processes of the cluster, 3 in all");
    assert_eq!(why(&meter), "starting: waiting for the other processes of the cluster, 3 in all");
    assert!(meter.page(now).contains("\ndeltacart_ready 0\n"));
    meter.wait_no_more();
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
    // A worker that has finished need not report.
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
