package peer;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.stream.Stream;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.datagen.source.DataGeneratorSource;
import org.apache.flink.connector.datagen.source.GeneratorFunction;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink;
import org.apache.flink.table.api.DataTypes;
import org.apache.flink.table.api.Schema;
import org.apache.flink.table.api.bridge.java.StreamTableEnvironment;
import org.apache.flink.table.connector.ChangelogMode;
import org.apache.flink.types.Row;
import org.apache.flink.types.RowKind;

/**
 * The lists, maintained by Flink SQL in one JVM.
 *
 * <p>What: interactions (basket, item) as a changelog at full speed; the view below; its changelog to a sink that counts
 * it. Parallelism 1 (each operator chain is a thread of its own), state on the heap, mini-batches, objects reused.
 *
 * <p>Why this view: c/√(n(a)·n(b)) and c²/n(b) put the row of a in the same order, so n(a) is joined to the k rows of a
 * list and not to its thousands of candidates. A pair is counted once and mirrored, by two joins and not before one, so
 * that both sides of each join keep a unique key. The rank is not selected: a row that moves up is not said again.
 *
 * <p>Flink has no epochs. The clock runs from the first event that the source gives to the last change that reaches the
 * sink. The checkpoints are the times at which the source was let on to the n-th event: what is under way in buffers and
 * mini-batches counts as done, in Flink's favour.
 *
 * <pre>java -cp ... peer.Peer --workload FILE [--lines N] [--epoch N] [--seconds S] [--lists FILE]</pre>
 *
 * <p>One JSON object on stdout; the lists as {@code item,rank,other,score}, if it came to the end of the events.
 */
public final class Peer {
    private static final String SUPPORTS = "SELECT item, COUNT(*) AS n FROM interactions GROUP BY item";

    private static final String PAIRS = """
            SELECT x.item AS a, y.item AS b, COUNT(*) AS c
            FROM interactions AS x JOIN interactions AS y ON x.basket = y.basket AND x.item < y.item
            GROUP BY x.item, y.item
            """;

    private static final String CANDIDATES = """
            SELECT a AS item, b AS other, CAST(c * c AS DOUBLE) / n AS square
            FROM pairs JOIN supports ON b = item
            UNION ALL
            SELECT b AS item, a AS other, CAST(c * c AS DOUBLE) / n AS square
            FROM pairs JOIN supports ON a = item
            """;

    private static final String TOP = """
            SELECT item, other, square
            FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY item ORDER BY square DESC, other) AS place FROM candidates)
            WHERE place <= 10
            """;

    private static final String LISTS = """
            SELECT top.item, top.other, SQRT(top.square / supports.n) AS score
            FROM top JOIN supports ON top.item = supports.item
            """;

    // What the job's threads and the driver share: the cluster lives in this JVM.
    private static int[] baskets;
    private static int[] items;
    private static boolean[] removed;
    private static int epoch = 10_000;
    private static final List<String> CHECKPOINTS = new ArrayList<>();
    private static final Set<Row> ROWS = new HashSet<>();
    private static volatile long startedAt;
    private static volatile long changedAt;
    private static volatile long given;

    public static void main(String[] arguments) throws Exception {
        String workload = null;
        String lists = null;
        int lines = Integer.MAX_VALUE;
        double seconds = 1e9;
        for (int at = 0; at + 1 < arguments.length; at += 2) {
            String value = arguments[at + 1];
            switch (arguments[at]) {
                case "--workload" -> workload = value;
                case "--lines" -> lines = Integer.parseInt(value);
                case "--epoch" -> epoch = Integer.parseInt(value);
                case "--seconds" -> seconds = Double.parseDouble(value);
                case "--lists" -> lists = value;
                default -> throw new IllegalArgumentException(arguments[at] + " is not known");
            }
        }
        read(workload, lines);
        boolean finished = run(seconds);
        print(finished);
        if (finished && lists != null) {
            write(lists);
        }
        // Threads of the cluster that linger must not keep the process.
        System.out.flush();
        Runtime.getRuntime().halt(0);
    }

    /** Runs the job to its end, or for so long; says which. */
    private static boolean run(double seconds) throws Exception {
        Configuration configuration = new Configuration();
        configuration.setString("state.backend.type", "hashmap");
        configuration.setString("parallelism.default", "1");
        configuration.setString("pipeline.object-reuse", "true");
        configuration.setString("table.exec.mini-batch.enabled", "true");
        configuration.setString("table.exec.mini-batch.allow-latency", System.getProperty("latency", "10 s"));
        configuration.setString("table.exec.mini-batch.size", System.getProperty("size", "1000000"));
        configuration.setString("table.optimizer.agg-phase-strategy", System.getProperty("agg", "AUTO"));
        StreamExecutionEnvironment streams = StreamExecutionEnvironment.getExecutionEnvironment(configuration);
        StreamTableEnvironment tables = StreamTableEnvironment.create(streams);
        define(streams, tables);
        if (Boolean.getBoolean("explain")) {
            System.err.println(tables.explainSql(LISTS));
        }
        tables.toChangelogStream(tables.sqlQuery(LISTS)).map(Peer::take).returns(Types.BOOLEAN).sinkTo(new DiscardingSink<>());
        var job = streams.executeAsync("lists");
        try {
            job.getJobExecutionResult().get((long) (seconds * 1000), TimeUnit.MILLISECONDS);
            return true;
        } catch (TimeoutException late) {
            changedAt = System.nanoTime();
            return false;
        }
    }

    /** The table of interactions, and the views upon it. */
    private static void define(StreamExecutionEnvironment streams, StreamTableEnvironment tables) {
        GeneratorFunction<Long, Row> event = Peer::event;
        var type = Types.ROW_NAMED(new String[] {"basket", "item"}, Types.INT, Types.INT);
        DataStream<Row> events = streams.fromSource(
                new DataGeneratorSource<>(event, baskets.length, type), WatermarkStrategy.noWatermarks(), "events");
        Schema schema = Schema.newBuilder()
                .column("basket", DataTypes.INT().notNull())
                .column("item", DataTypes.INT().notNull())
                .primaryKey("basket", "item")
                .build();
        ChangelogMode.Builder mode = ChangelogMode.newBuilder().addContainedKind(RowKind.INSERT);
        for (boolean remove : removed) {
            if (remove) {
                mode.addContainedKind(RowKind.DELETE);
                break;
            }
        }
        tables.createTemporaryView("interactions", tables.fromChangelogStream(events, schema, mode.build()));
        tables.createTemporaryView("supports", tables.sqlQuery(SUPPORTS));
        tables.createTemporaryView("pairs", tables.sqlQuery(PAIRS));
        tables.createTemporaryView("candidates", tables.sqlQuery(CANDIDATES));
        tables.createTemporaryView("top", tables.sqlQuery(TOP));
    }

    /** The n-th event; called by the source alone, in order. */
    private static Row event(long number) {
        int at = (int) number;
        long now = System.nanoTime();
        if (at == 0) {
            startedAt = now;
        } else if (at % epoch == 0) {
            checkpoint(at, now);
        }
        given = at + 1;
        return Row.ofKind(removed[at] ? RowKind.DELETE : RowKind.INSERT, baskets[at], items[at]);
    }

    private static void checkpoint(long events, long now) {
        CHECKPOINTS.add(String.format(Locale.ROOT, "[%d,%.4f]", events, (now - startedAt) * 1e-9));
    }

    /** A change of a list; called by the sink alone. */
    private static boolean take(Row change) {
        RowKind kind = change.getKind();
        Row row = Row.of(change.getField(0), change.getField(1), change.getField(2));
        if (kind == RowKind.INSERT || kind == RowKind.UPDATE_AFTER) {
            ROWS.add(row);
        } else {
            ROWS.remove(row);
        }
        changedAt = System.nanoTime();
        return true;
    }

    private static void read(String workload, int lines) throws IOException {
        try (Stream<String> text = Files.lines(Path.of(workload))) {
            int[][] events = text.limit(lines)
                    .map(line -> line.split(","))
                    .map(f -> new int[] {Integer.parseInt(f[0]), Integer.parseInt(f[1]), Integer.parseInt(f[2])})
                    .toArray(int[][]::new);
            baskets = new int[events.length];
            items = new int[events.length];
            removed = new boolean[events.length];
            for (int at = 0; at < events.length; at++) {
                baskets[at] = events[at][0];
                items[at] = events[at][1];
                removed[at] = events[at][2] < 0;
            }
        }
    }

    private static void print(boolean finished) throws IOException {
        if (finished) {
            checkpoint(given, changedAt);
        }
        System.out.printf(
                Locale.ROOT,
                "{\"program\":\"flink\",\"events\":%d,\"epoch\":%d,\"seconds\":%.4f,\"checkpoints\":[%s],\"peak_bytes\":%d}%n",
                given,
                epoch,
                (changedAt - startedAt) * 1e-9,
                String.join(",", CHECKPOINTS),
                peakBytes());
    }

    private static void write(String path) throws IOException {
        List<Row> rows = new ArrayList<>(ROWS);
        rows.sort(Comparator.comparingInt((Row row) -> (int) row.getField(0))
                .thenComparing(row -> -(double) row.getField(2))
                .thenComparing(row -> (int) row.getField(1)));
        try (PrintWriter file = new PrintWriter(path)) {
            Object item = null;
            int rank = 0;
            for (Row row : rows) {
                rank = row.getField(0).equals(item) ? rank + 1 : 1;
                item = row.getField(0);
                file.println(item + "," + rank + "," + row.getField(1) + "," + row.getField(2));
            }
        }
    }

    /** The largest resident memory of this process, as Linux tells it. */
    private static long peakBytes() throws IOException {
        for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
            if (line.startsWith("VmHWM:")) {
                return Long.parseLong(line.replaceAll("\\D", "")) * 1024;
            }
        }
        return 0;
    }
}
