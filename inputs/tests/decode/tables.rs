//! Tables as they are exported: other headers, other dates, words for nothing, columns that slipped.

use crate::{decoder, record, shown};
use deltacart_inputs::RawRecord;

/// What the rows of one file become, a line each.
fn file(flags: &str, rows: &[&str]) -> Vec<String> {
    let mut decoder = decoder(flags);
    let rows = rows.iter().enumerate();
    rows.map(|(offset, row)| shown(&mut *decoder, &record(offset as u64, row.as_bytes())).join("; "))
        .collect()
}

/// Why a header is refused.
fn refused(flags: &str, header: &str) -> String {
    let result = decoder(flags).decode(&record(0, header.as_bytes()), &mut Vec::new());
    let reject = result.unwrap_err();
    assert_eq!(reject.reason.name(), "bad-header");
    reject.detail
}

/// The time of the one event that a row becomes.
fn time(flags: &str, header: Option<&str>, row: &str) -> u64 {
    let (mut decoder, mut events) = (decoder(flags), Vec::new());
    if let Some(header) = header {
        decoder.decode(&record(0, header.as_bytes()), &mut events).unwrap();
    }
    let decoded = decoder.decode(&record(1, row.as_bytes()), &mut events).unwrap();
    assert_eq!((decoded.events, decoded.defects), (1, None), "{row}");
    events[0].time
}

#[test]
fn online_retail_in_both_editions() {
    let rows = [
        "Invoice,StockCode,Description,Quantity,InvoiceDate,Price,Customer ID,Country",
        "489434,85048,\"TIN, BLUE\",12,2009-12-01 07:45:00,6.95,13085.0,United Kingdom",
        "C489449,22087,RED TIN,-12,2009-12-01 10:33:00,2.95,16321.0,Australia",
        "489525,22087,RED TIN,1,2009-12-01 10:33:00,2.95,,Australia",
    ];
    let by_order = [
        "header",
        "489434 (13085): purchase 85048 12",
        "C489449 (16321): refund 22087 12",
        "489525: purchase 22087 1",
    ];
    assert_eq!(file("--format online-retail", &rows), by_order);
    let by_user = file("--format online-retail --basket user", &rows);
    assert_eq!(
        by_user[1..],
        ["13085 (13085): purchase 85048 12", "16321 (16321): refund 22087 12", "reject missing-basket"]
    );
    let detail = refused("--format online-retail", "Invoices,StockCode,Quantity,InvoiceDate,CustomerID");
    assert!(
        detail.starts_with("no column is called \"InvoiceNo\" or \"Invoice\"; the nearest is \"Invoices\""),
        "{detail}"
    );
}

#[test]
fn times_are_read_as_spreadsheets_write_them() {
    const HEADER: Option<&str> = Some("InvoiceNo,StockCode,Quantity,InvoiceDate,CustomerID");
    let retail = |time_of: &str| time("--format online-retail", HEADER, &format!("1,a,1,{time_of},7"));
    assert_eq!(retail("12/1/2010 8:26"), 1_291_191_960_000);
    assert_eq!(retail("12/01/2010 08:26"), 1_291_191_960_000);
    assert_eq!(retail("2010-12-01 08:26:00"), 1_291_191_960_000);
    // A thirteenth month: such a file has the day first, and nobody guesses.
    let rows = ["InvoiceNo,StockCode,Quantity,InvoiceDate,CustomerID", "1,a,1,13/12/2010 8:26,7"];
    assert_eq!(file("--format online-retail", &rows)[1], "1 (7): purchase a 1; unreadable-time");
    let german = "--format csv --columns basket=#1,item=#2,time=#3 --time-format %d.%m.%Y_%H:%M";
    assert_eq!(time(german, None, "b,i,01.12.2010 08:26"), 1_291_191_960_000);
    assert_eq!(time(german, None, "b,i,2010-12-01T08:26:00Z"), 1_291_191_960_000);
    let days = "--format csv --columns basket=#1,item=#2,time=#3 --time-format %Y%m%d";
    assert_eq!(time(days, None, "b,i,20101201"), 1_291_161_600_000);
    let day_first = "--format online-retail --time-format %d/%m/%Y_%H:%M";
    assert_eq!(time(day_first, HEADER, "1,a,1,1/12/2010 8:26,7"), 1_291_191_960_000);
}

#[test]
fn a_row_whose_columns_slipped_invents_nothing() {
    let rows =
        ["order,desc,sku,qty", "1,Kettle,K-1,1", "2,Holder, white,H-1,1", "2,Lamp,L-1", "2,Lamp,L-1,1,"];
    let flags = "--format csv --columns basket=order,item=sku,quantity=qty";
    let wrong = "reject wrong-columns";
    assert_eq!(file(flags, &rows), ["header", "1: add K-1 1", wrong, wrong, wrong]);
    let mut decoder = decoder(flags);
    let mut events = Vec::new();
    decoder.decode(&record(0, rows[0].as_bytes()), &mut events).unwrap();
    let reject = decoder.decode(&record(1, rows[2].as_bytes()), &mut events).unwrap_err();
    assert!(reject.detail.starts_with("5 of 4 columns"), "{}", reject.detail);
    // The presets have headers, too.
    let rows = [
        "event_time,event_type,product_id,price,user_id,user_session",
        "2022-10-01 00:00:00 UTC,cart,5,2,62,7,s",
    ];
    assert_eq!(file("--format rees46", &rows)[1], wrong);
}

#[test]
fn words_for_nothing_are_absent_in_every_column() {
    let flags = "--format csv --columns basket=b,item=i,quantity=n,time=t,user=u,id=k";
    for word in ["", "NULL", "null", "\\N", "nan", "NaN", "\"NULL\""] {
        let rows = [
            "b,i,n,t,u,k".to_owned(),
            format!("b1,i1,2,{word},u1,1"),
            format!("b1,i1,{word},,u1,2"),
            format!("b1,i1,2,,{word},3"),
            format!("b1,i1,2,,{word},{word}"),
            format!("b1,i1,2,,{word},{word}"),
            format!("{word},i1,2,,u1,6"),
            format!("b1,{word},2,,u1,7"),
        ];
        let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
        let expected = [
            "header",
            "b1 (u1): add i1 2",
            "b1 (u1): add i1 1",
            "b1: add i1 2",
            "b1: add i1 2",
            "b1: add i1 2",
            "reject missing-basket",
            "reject missing-item",
        ];
        assert_eq!(file(flags, &rows), expected, "{word}");
    }
    let by_user = "--format csv --columns item=#2,user=#1 --basket user";
    let missing = "reject missing-basket";
    assert_eq!(
        file(by_user, &["NULL,a", "\\N,a", "nan,a", ",a", "7,a"]),
        [missing, missing, missing, missing, "7 (7): add a 1"]
    );
    assert_eq!(
        file(&format!("{by_user} --null-words guest"), &["NULL,a", "Guest,a"]),
        ["NULL (NULL): add a 1", missing]
    );
    let rows = ["InvoiceNo,StockCode,Quantity,InvoiceDate,CustomerID", "1,a,1,NULL,nan"];
    assert_eq!(file("--format online-retail", &rows)[1], "1: purchase a 1");
    assert_eq!(file("--format online-retail --basket user", &rows)[1], missing);
}

#[test]
fn several_columns_make_a_basket() {
    let rows = [
        "member,date,item",
        "1,2015-07-21,milk",
        "1,2015-07-22,milk",
        "1+2,3,milk",
        "1,2+3,milk",
        "1,,milk",
        "NULL,2015-07-21,milk",
    ];
    let expected = [
        "header",
        "1+2015-07-21: add milk 1",
        "1+2015-07-22: add milk 1",
        "1\\+2+3: add milk 1",
        "1+2\\+3: add milk 1",
        "reject missing-basket",
        "reject missing-basket",
    ];
    assert_eq!(file("--format csv --columns basket=member+date,item=item", &rows), expected);
    assert_eq!(file("--format csv --columns item=item --basket member+date", &rows), expected);
    let by_place = file("--format csv --columns item=#3 --basket #1+#2", &rows[1..]);
    assert_eq!(by_place, expected[1..]);
    let long = format!("{},{},milk", "m".repeat(200), "d".repeat(200));
    assert_eq!(
        file("--format csv --columns item=#3 --basket #1+#2", &[long.as_str()]),
        ["reject id-too-long"]
    );
    let rows = ["InvoiceNo,StockCode,Quantity,InvoiceDate,CustomerID", "1,a,1,2010-12-01,7.0"];
    assert_eq!(
        file("--format online-retail --basket CustomerID+InvoiceDate", &rows)[1],
        "7+2010-12-01 (7): purchase a 1"
    );
}

#[test]
fn a_header_that_cannot_be_used_says_what_there_is_and_what_to_do() {
    let flags = "--format csv --columns basket=sesion,item=item";
    let detail = refused(flags, "session,item,price");
    assert_eq!(
        detail,
        "no column is called \"sesion\"; the nearest is \"session\"; there are session, item, price"
    );
    let detail = refused(flags, "a,b,c");
    assert_eq!(detail, "no column is called \"sesion\"; there are a, b, c");
    assert!(
        refused("--format csv --columns basket=Session,item=item", "session,item")
            .contains("the nearest is \"session\"")
    );
    for (header, remedy) in [
        ("session;item", "--delimiter ';'"),
        ("session\titem", "--delimiter tab"),
        ("session|item", "--delimiter '|'"),
        ("{\"session\":\"s1\"}", "--format json"),
        ("[", "--format json"),
    ] {
        assert!(refused(flags, header).contains(remedy), "{header}: {}", refused(flags, header));
    }
    // Names of any length and number stay within the bounds of a reject.
    let long = (0..1000).map(|number| format!("{number}{}", "x".repeat(500))).collect::<Vec<_>>().join(",");
    assert!(refused(flags, &long).chars().count() <= 200);
}

#[test]
fn baskets_of_any_ids() {
    let lines = [
        "bread, whole milk",
        "\u{a0}bread ,\teggs,cola,",
        "\"tea, green\",\"12\"\" pan\"",
        "nan,NULL,,bread",
        " , ,",
        "bread, \"tea, green\"",
        "bread,\"tea",
        "bread,bread",
    ];
    let expected = [
        "1: purchase bread 1; 1: purchase whole milk 1",
        "2: purchase bread 1; 2: purchase eggs 1; 2: purchase cola 1",
        "3: purchase tea, green 1; 3: purchase 12\" pan 1",
        "4: purchase bread 1",
        "",
        "reject malformed",
        "reject malformed",
        "8: purchase bread 1; 8: purchase bread 1",
    ];
    assert_eq!(file("--format baskets", &lines), expected);
    assert_eq!(file("--format baskets --delimiter ;", &["a;b, c"]), ["1: purchase a 1; 1: purchase b, c 1"]);
    let second = RawRecord { partition: 1, ..record(0, b"\xef\xbb\xbfa,\xff,b") };
    let became = shown(&mut *decoder("--format baskets"), &second);
    assert_eq!(became, ["1:1: purchase a 1", "1:1: purchase b 1", "reject line 1 invalid-utf8"]);
}
