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
import java.util.stream.Stream;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.datagen.source.DataGeneratorSource;
import org.apache.flink.connector.datagen.source.GeneratorFunction;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.operators.AbstractStreamOperator;
import org.apache.flink.streaming.api.operators.OneInputStreamOperator;
import org.apache.flink.streaming.api.watermark.Watermark;
import org.apache.flink.streaming.runtime.streamrecord.StreamRecord;
import org.apache.flink.table.api.DataTypes;
import org.apache.flink.table.api.Schema;
import org.apache.flink.table.api.bridge.java.StreamTableEnvironment;
import org.apache.flink.table.connector.ChangelogMode;
import org.apache.flink.types.Row;
import org.apache.flink.types.RowKind;

/**
 * The lists, maintained by Flink SQL in one JVM.
 *
 * <p>What: interactions (basket, item) as a changelog, the view below, its changelog to a sink that keeps it. Parallelism
 * 1 (each operator chain is a thread of its own), state on the heap, mini-batches, objects reused.
 *
 * <p>Why this view: c/√(n(a)·n(b)) and c²/n(b) put the row of a in the same order, so n(a) is joined to the k rows of a
 * list and not to its thousands of candidates. Both orders of a pair are counted: to count one and mirror it costs a unique
 * key or a second join, and was slower. The rank is not selected: a row that moves up is not said again.
 *
 * <p>Epochs: a mini-batch ends with a marker, a watermark that overtakes nothing. The source gives an epoch as fast as it
 * is taken, and the next when the marker behind it has reached the sink ({@link Pace}). Left to itself, the first operator
 * would swallow the whole file as one mini-batch; with two epochs under way the markers cut them into more mini-batches,
 * and it was slower.
 *
 * <pre>java -cp ... peer.Peer --workload FILE [--lines N] [--epoch N] [--seconds S] [--lists FILE]</pre>
 *
 * <p>A line of JSON for every epoch and one for the whole on stdout; the lists after the last epoch that was taken in as
 * {@code item,rank,other,score}.
 */
public final class Peer {
    private static final String SUPPORTS = "SELECT item, COUNT(*) AS n FROM interactions GROUP BY item";

    private static final String PAIRS = """
            SELECT x.item AS a, y.item AS b, COUNT(*) AS c
            FROM interactions AS x JOIN interactions AS y ON x.basket = y.basket AND x.item <> y.item
            GROUP BY x.item, y.item
            """;

    private static final String CANDIDATES = """
            SELECT a AS item, b AS other, CAST(c * c AS DOUBLE) / n AS square
            FROM pairs JOIN supports ON b = item
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

    // The cluster lives in this JVM: its threads find the events and leave the lists here.
    private static int[] baskets;
    private static int[] items;
    private static boolean[] removed;
    private static final Set<Row> ROWS = new HashSet<>();

    public static void main(String[] arguments) throws Exception {
        String workload = null;
        String lists = null;
        int lines = Integer.MAX_VALUE;
        int epoch = 10_000;
        double seconds = Double.MAX_VALUE;
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
        Pace.set(baskets.length, epoch, seconds);
        start();
        Pace.await();
        System.out.printf(
                Locale.ROOT,
                "{\"program\":\"flink\",\"epoch\":%d,%s,\"peak_bytes\":%d}%n",
                epoch,
                Pace.figures(),
                peakBytes());
        if (lists != null) {
            write(lists);
        }
        // The job need not be taken down in order, nor end at all.
        System.out.flush();
        Runtime.getRuntime().halt(0);
    }

    private static void start() throws Exception {
        Configuration configuration = new Configuration();
        configuration.setString("state.backend.type", "hashmap");
        configuration.setString("parallelism.default", "1");
        configuration.setString("pipeline.object-reuse", "true");
        configuration.setString("table.exec.mini-batch.enabled", "true");
        // How often a marker is sent: longer than an epoch takes to be given. And more records than an epoch brings to
        // any operator.
        configuration.setString("table.exec.mini-batch.allow-latency", "500 ms");
        configuration.setString("table.exec.mini-batch.size", "10000000");
        // A job that fails says so, and does not begin again.
        configuration.setString("restart-strategy.type", "none");
        StreamExecutionEnvironment streams = StreamExecutionEnvironment.getExecutionEnvironment(configuration);
        StreamTableEnvironment tables = StreamTableEnvironment.create(streams);
        define(streams, tables);
        tables.toChangelogStream(tables.sqlQuery(LISTS)).transform("lists", Types.VOID, new Sink());
        streams.executeAsync("lists").getJobExecutionResult().exceptionally(failure -> {
            failure.printStackTrace();
            Runtime.getRuntime().halt(1);
            return null;
        });
    }

    /** The table of interactions, and the views upon it. */
    private static void define(StreamExecutionEnvironment streams, StreamTableEnvironment tables) {
        GeneratorFunction<Long, Row> event = Peer::event;
        TypeInformation<Row> type = Types.ROW_NAMED(new String[] {"basket", "item"}, Types.INT, Types.INT);
        DataStream<Row> events = streams.fromSource(
                new DataGeneratorSource<>(event, baskets.length, new Pace.Strategy<>(), type),
                WatermarkStrategy.noWatermarks(),
                "events");
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
        Pace.given(at);
        return Row.ofKind(removed[at] ? RowKind.DELETE : RowKind.INSERT, baskets[at], items[at]);
    }

    /** Keeps the lists, and tells the pace which markers have come. */
    private static final class Sink extends AbstractStreamOperator<Void> implements OneInputStreamOperator<Row, Void> {
        @Override
        public void processElement(StreamRecord<Row> change) {
            Row value = change.getValue();
            // A copy without the kind of change: equal to the row that is to be taken away, and Flink reuses its own.
            Row row = Row.of(value.getField(0), value.getField(1), value.getField(2));
            switch (value.getKind()) {
                case INSERT, UPDATE_AFTER -> ROWS.add(row);
                case DELETE, UPDATE_BEFORE -> ROWS.remove(row);
            }
        }

        @Override
        public void processWatermark(Watermark marker) {
            Pace.closed(marker.getTimestamp());
        }
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
