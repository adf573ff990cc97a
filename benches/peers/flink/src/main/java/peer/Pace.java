package peer;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import org.apache.flink.api.connector.source.SourceSplit;
import org.apache.flink.api.connector.source.util.ratelimit.RateLimiter;
import org.apache.flink.api.connector.source.util.ratelimit.RateLimiterStrategy;

/**
 * How far the source may go, and when an epoch was through.
 *
 * <p>A marker of Flink's mini-batches carries the wall clock of its sending, and all events that were given before that
 * are in front of it. So an epoch is through when a marker later than its last event has reached the sink. When the time
 * is up no further epoch begins, and those that are under way are waited for: the lists are then those of whole epochs.
 */
final class Pace {
    private static int events;
    private static int epoch;
    private static double seconds;
    private static long startedAt;
    /** Events given so far, and the wall clock when each epoch's last one had been. */
    private static int given;
    private static final List<Long> GIVEN_AT = new ArrayList<>();
    /** Seconds after which each epoch was through. */
    private static final List<Double> CLOSED_AFTER = new ArrayList<>();
    private static boolean over;
    /** What the source waits for, if it does. */
    private static CompletableFuture<Void> permit;

    private Pace() {}

    static synchronized void set(int events, int epoch, double seconds) {
        Pace.events = events;
        Pace.epoch = epoch;
        Pace.seconds = seconds;
    }

    /** The source gives the event of this number. */
    static synchronized void given(int number) {
        if (number == 0) {
            startedAt = System.nanoTime();
        }
        given = number + 1;
        if (given == events) {
            // The last of all markers is infinitely late.
            GIVEN_AT.add(Long.MAX_VALUE - 1);
        }
    }

    /** A marker has reached the sink. */
    static synchronized void closed(long marker) {
        double now = (System.nanoTime() - startedAt) * 1e-9;
        while (CLOSED_AFTER.size() < GIVEN_AT.size() && GIVEN_AT.get(CLOSED_AFTER.size()) < marker) {
            CLOSED_AFTER.add(now);
            System.out.printf(Locale.ROOT, "{\"events\":%d,\"seconds\":%.4f}%n", taken(CLOSED_AFTER.size()), now);
        }
        over |= now > seconds || taken(CLOSED_AFTER.size()) == events;
        if (permit != null && isAllowed()) {
            permit.complete(null);
            permit = null;
        }
        Pace.class.notifyAll();
    }

    /** Waits until the last epoch that was begun is through. */
    static synchronized void await() throws InterruptedException {
        while (!over || taken(CLOSED_AFTER.size()) < given) {
            Pace.class.wait();
        }
    }

    /** Fields of the JSON object. */
    static synchronized String figures() {
        StringBuilder checkpoints = new StringBuilder();
        for (int at = 0; at < CLOSED_AFTER.size(); at++) {
            checkpoints.append(at > 0 ? "," : "");
            checkpoints.append(String.format(Locale.ROOT, "[%d,%.4f]", taken(at + 1), CLOSED_AFTER.get(at)));
        }
        double last = CLOSED_AFTER.get(CLOSED_AFTER.size() - 1);
        return String.format(
                Locale.ROOT, "\"events\":%d,\"seconds\":%.4f,\"checkpoints\":[%s]", given, last, checkpoints);
    }

    private static long taken(int epochs) {
        return Math.min((long) epochs * epoch, events);
    }

    private static boolean isAllowed() {
        // Where no event is left, the source only learns that this is so.
        boolean isBegun = given % epoch != 0 || given == events;
        return isBegun || !over && given <= CLOSED_AFTER.size() * (long) epoch;
    }

    private static synchronized CompletionStage<Void> acquire() {
        boolean isEpochGiven = given > 0 && given % epoch == 0;
        if (isEpochGiven && GIVEN_AT.size() < given / epoch) {
            // Only now: the event before is past the operator that sends the markers.
            GIVEN_AT.add(System.currentTimeMillis());
        }
        if (isAllowed()) {
            return CompletableFuture.completedFuture(null);
        }
        permit = new CompletableFuture<>();
        return permit;
    }

    /** What Flink calls a rate limiter: the source asks it before every event, and does not block meanwhile. */
    static final class Strategy<S extends SourceSplit> implements RateLimiterStrategy<S> {
        @Override
        public RateLimiter<S> createRateLimiter(int parallelism) {
            return events -> acquire();
        }
    }
}
