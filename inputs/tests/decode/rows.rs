//! Good, bad and nearly good rows: CSV, its presets, and baskets by line.

use crate::{decoder, record, shown};
use deltacart_inputs::RawRecord;

/// What the records of one partition become, a line each.
fn file(flags: &str, rows: &[&str]) -> Vec<String> {
    let mut decoder = decoder(flags);
    let rows = rows.iter().enumerate();
    rows.map(|(offset, row)| shown(&mut *decoder, &record(offset as u64, row.as_bytes())).join("; "))
        .collect()
}

#[test]
fn csv_with_a_header() {
    let flags = "--format csv --columns basket=b,item=i,quantity=n,time=t,user=u,event=e,id=k";
    let became = file(
        flags,
        &[
            "\u{feff}t,e,note,b,i,n,u,k",
            "2026-01-31 12:00:00,add,\"a, b\",b1,i1,2,u1,1",
            "2026-01-31 12:00:00,add,\"a \"\"b\"\"\r\nc\",\"b,1\",\"i\"\"1\",,,2",
            "2026-01-31 12:00:00,add,,b1,i1,2,u1,1",
            ",remove,,b1,i1,,,3",
            ",purchase,,b1,,,,4",
            ",view,,,,,,5",
            ",wish,,b1,i1,,,6",
            ",,,b1,i1,,,7",
            ",add,,b1,i1,two,,8",
            ",add,,,i1,2,,9",
            ",add,,b1,,2,,10",
            ",add,,b1",
            ",add,\"a,b1,i1,2,u1,12",
            ",add,,b1,i1,2,u1,13\n,add,,b1,i1,2,u1,14",
            "soon,add,,b1,i1,2,u1,15",
            ",add,,b1,i1,2,u1,16,more",
            ",add,12\" pipe,b1,i1,2,u1,17",
            ",add,12\" pipe,b1,i1,2,u1,\"18",
        ],
    );
    let expected = [
        "header",
        "b1 (u1): add i1 2",
        "b,1: add i\"1 1",
        "duplicate",
        "b1: remove i1 all",
        "b1: checkout",
        "view",
        "reject unknown-event",
        "reject unknown-event",
        "reject bad-quantity",
        "reject missing-basket",
        "reject missing-item",
        "reject wrong-columns",
        "reject malformed",
        "reject malformed",
        "b1 (u1): add i1 2; unreadable-time",
        "reject wrong-columns",
        "b1 (u1): add i1 2",
        "reject malformed",
    ];
    assert_eq!(became, expected);
}

#[test]
fn csv_by_position_and_delimiter() {
    let flags = "--format csv --columns basket=#2,item=#1 --delimiter tab";
    assert_eq!(
        file(flags, &["\u{feff}i\tb\tx", "j\tb", "k"]),
        ["b: add i 1", "b: add j 1", "reject missing-column"]
    );
    let flags = "--format csv --columns item=#1,user=#2 --basket user --delimiter ;";
    assert_eq!(file(flags, &["i;u", "i;"]), ["u (u): add i 1", "reject missing-basket"]);
    // A bad byte matters in the columns that are used only.
    let mut decoder = decoder("--format csv --columns basket=#1,item=#2,quantity=#4");
    assert_eq!(shown(&mut *decoder, &record(0, b"b,i,\xfc,-2")), ["b: remove i 2"]);
    assert_eq!(shown(&mut *decoder, &record(1, b"b,\xfc,x,2")), ["reject invalid-utf8"]);
}

#[test]
fn csv_headers_belong_to_their_partitions() {
    let mut decoder = decoder("--format csv --columns basket=b,item=i");
    let mut at = |partition: u32, offset: u64, row: &str| {
        shown(&mut *decoder, &RawRecord { partition, ..record(offset, row.as_bytes()) }).join("; ")
    };
    assert_eq!(at(0, 0, "b,i"), "header");
    assert_eq!(at(1, 0, "i,b"), "header");
    assert_eq!(at(2, 0, "i,c"), "reject bad-header");
    assert_eq!(at(3, 0, "b,i,b"), "reject bad-header");
    assert_eq!(at(0, 1, "x,y"), "x: add y 1");
    assert_eq!(at(1, 1, "x,y"), "y: add x 1");
    assert_eq!(at(2, 1, "x,y"), "reject missing-header");
    assert_eq!(at(3, 1, "x,y"), "reject missing-header");
    assert_eq!(at(4, 7, "x,y"), "reject missing-header");
    assert!(decoder.needs_header());
    assert!(!crate::decoder("--format csv --columns basket=#1,item=#2").needs_header());
    assert!(!crate::decoder("--format json").needs_header());
}

#[test]
fn online_retail_rows() {
    let rows = [
        "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country",
        "536365,85123A,\"HOLDER, WHITE\",6,2010-12-01 08:26:00,2.55,17850.0,United Kingdom",
        "C536379,D,Discount,-1,2010-12-01 09:41:00,27.5,14527.0,United Kingdom",
        "536414,22139,,56,2010-12-01 11:52:00,0.0,,United Kingdom",
    ];
    let by_order = [
        "header",
        "536365 (17850): purchase 85123A 6",
        "C536379 (14527): refund D 1",
        "536414: purchase 22139 56",
    ];
    let by_user =
        ["header", "17850 (17850): purchase 85123A 6", "14527 (14527): refund D 1", "reject missing-basket"];
    assert_eq!(file("--format online-retail", &rows), by_order);
    assert_eq!(file("--format online-retail --basket order", &rows), by_order);
    assert_eq!(file("--format online-retail --basket user", &rows), by_user);
}

#[test]
fn rees46_rows() {
    let rows = [
        "event_time,event_type,product_id,price,user_id,user_session",
        "2022-10-01 00:00:00 UTC,cart,5773203,2.62,463240011,26dd6e6e",
        "2022-10-01 00:00:01 UTC,remove_from_cart,5773203,2.62,463240011,26dd6e6e",
        "2022-10-01 00:00:02 UTC,purchase,5773203,2.62,463240011,26dd6e6e",
        "2022-10-01 00:00:03 UTC,view,5773203,2.62,463240011,",
        "2022-10-01 00:00:04 UTC,cart,5773203,2.62,463240011,",
        "2022-10-01 00:00:05 UTC,add,5773203,2.62,463240011,26dd6e6e",
    ];
    let by_session = [
        "header",
        "26dd6e6e (463240011): add 5773203 1",
        "26dd6e6e (463240011): remove 5773203 all",
        "26dd6e6e (463240011): purchase 5773203 1",
        "view",
        "reject missing-basket",
        "reject unknown-event",
    ];
    assert_eq!(file("--format rees46", &rows), by_session);
    assert_eq!(file("--format rees46 --basket user", &rows)[5], "463240011 (463240011): add 5773203 1");
}

#[test]
fn fimi_lines() {
    let lines = ["0 1 2 ", "30\t31\r", " ", "1 x 2", "1 -2", "7 7"];
    let expected = [
        "1: purchase 0 1; 1: purchase 1 1; 1: purchase 2 1",
        "2: purchase 30 1; 2: purchase 31 1",
        "",
        "4: purchase 1 1; 4: purchase 2 1; reject line 1 bad-id",
        "5: purchase 1 1; reject line 1 bad-id",
        "6: purchase 7 1; 6: purchase 7 1",
    ];
    assert_eq!(file("--format fimi", &lines), expected);
    let second = RawRecord { partition: 1, ..record(0, b"5") };
    assert_eq!(shown(&mut *decoder("--format fimi"), &second), ["1:1: purchase 5 1"]);
}
