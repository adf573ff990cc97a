//! Input files as shops have them, from the command line to the lists: encodings, arrays, archives, headers, orders.

use crate::support::{Folder, lists_of_file, run};

/// The lists of two orders of kettle and teapot and one of a lamp, in whichever form the file has them.
const LISTS: &str = r#"{"item":"kettle","recommendations":[{"item":"teapot","score":1,"count":2}]}
{"item":"teapot","recommendations":[{"item":"kettle","score":1,"count":2}]}
"#;

const ROWS: &str = "order,item\n1,kettle\n1,teapot\n2,kettle\n2,teapot\n3,lamp\n";

/// Runs a job over one file.
#[track_caller]
fn check(name: &str, content: impl AsRef<[u8]>, flags: &str, more: &[&str]) {
    let folder = Folder::new();
    let (input, output) = (folder.file(name, content), folder.path("lists.jsonl"));
    run(&format!("run --input {input} --output {output} --verify {flags}"), more).expect(0);
    assert_eq!(lists_of_file(&output), LISTS, "{name} with {flags}");
}

#[test]
fn tables_as_they_are_exported() {
    let flags = "--format csv --columns basket=order,item=item";
    let utf16 = |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_le_bytes).collect() };
    check("plain.csv", ROWS, flags, &[]);
    check(
        "utf16.csv",
        utf16(&format!("\u{feff}{}", ROWS.replace(',', "\t"))),
        &format!("{flags} --delimiter tab"),
        &[],
    );
    check("slipped.csv", format!("{ROWS}4,kettle, blue\n"), flags, &[]);
    check(
        "guests.csv",
        "user,item\nu1,kettle\nu1,teapot\nu2,kettle\nu2,teapot\nNULL,lamp\nNULL,kettle\nnan,lamp\nnan,teapot\n",
        "--format csv --columns user=user,item=item --basket user",
        &[],
    );
    check(
        "members.csv",
        "member,date,item\n1,mon,kettle\n1,mon,teapot\n1,tue,lamp\n2,mon,kettle\n2,mon,teapot\n",
        "--format csv --columns item=item --basket member+date",
        &[],
    );
    check(
        "retail.csv",
        "Invoice,StockCode,Description,Quantity,InvoiceDate,Price,Customer ID,Country\n\
         1,kettle,,1,12/1/2010 8:26,1,7.0,\n1,teapot,,1,12/1/2010 8:26,1,7.0,\n\
         2,kettle,,1,12/1/2010 8:27,1,,\n2,teapot,,1,12/1/2010 8:27,1,,\n",
        "--format online-retail",
        &[],
    );
    check("lines.csv", "kettle, teapot\nteapot,kettle\nlamp\n", "--format baskets --delimiter ,", &[]);
}

#[test]
fn json_in_every_layout() {
    let event =
        |basket: &str, item: &str| format!("{{\n  \"basket\": \"{basket}\",\n  \"item\": \"{item}\"\n}}");
    let all = [event("1", "kettle"), event("1", "teapot"), event("2", "kettle"), event("2", "teapot")];
    check("array.json", format!("[\n{}\n]\n", all.join(",\n")), "--format json", &[]);
    check("values.json", all.join("\n"), "--format json", &[]);
    check("lines.jsonl", all.map(|event| event.replace('\n', "")).join("\n"), "--format json", &[]);
    let order = |id: u32| {
        format!(
            r##"{{"id":{id},"name":"#{id}","status":"completed","customer":{{"id":{id}}},"line_items":[{{"sku":"kettle"}},{{"sku":"teapot","quantity":2}}]}}"##
        )
    };
    let orders = [order(1), order(2)].join("\n");
    check("shopify.jsonl", &orders, "--format shopify", &[]);
    check("woocommerce.jsonl", &orders, "--format woocommerce", &[]);
    check(
        "any.jsonl",
        &orders,
        "--fields",
        &["basket=id,item=line_items[].sku,quantity=line_items[].quantity"],
    );
}

#[test]
fn what_cannot_be_read_ends_with_one_message() {
    let folder = Folder::new();
    let flags = "run --output /dev/null --format csv --columns basket=sesion,item=item --input";
    for (name, content, said) in [
        (
            "typo.csv",
            &b"session,item\ns1,a\n"[..],
            "no column is called \"sesion\"; the nearest is \"session\"",
        ),
        ("semicolons.csv", b"session;item\ns1;a\n", "--delimiter ';'"),
        ("carts.zip", b"PK\x03\x04\x14\0\0\0", "this is a zip archive"),
        ("utf16.csv", b"s\0e\0s\0s\0", "UTF-16LE without a byte order mark"),
    ] {
        let path = folder.file(name, content);
        let done = run(flags, &[&path]).expect(1).says(said).says(name);
        assert_eq!(done.stderr.lines().count(), 1, "one message: {}", done.stderr);
    }
    let cut = folder.file("cut.json", "[{\"basket\":\"1\",\"item\":\"a\"},\n");
    run("run --output /dev/null --input", &[&cut]).expect(1).says("does not end");
}

/// A build without Parquet says which feature is missing, and makes nothing.
#[cfg(not(feature = "parquet"))]
#[test]
fn parquet_is_a_feature() {
    let folder = Folder::new();
    let table = folder.file("orders.parquet", b"PAR1\x15\x04\x15");
    for name in [&table, &folder.file("orders", b"PAR1\x15\x04\x15")] {
        let done = run(&format!("run --input {name} --output {}", folder.path("lists.jsonl")), &[]).expect(1);
        done.says("this is Parquet, which needs a build with --features parquet").says(name);
    }
    let rows = folder.file("rows.csv", ROWS);
    let job = format!("run --input {rows} --format csv --columns basket=order,item=item");
    for name in ["lists.parquet", "lists.PARQUET"] {
        let done = run(&format!("{job} --output {}", folder.path(name)), &[]).expect(2);
        done.says("Parquet needs a build with --features parquet");
        assert!(!std::fs::exists(folder.path(name)).unwrap());
    }
    assert!(!std::fs::exists(folder.path("lists.jsonl")).unwrap());
}
