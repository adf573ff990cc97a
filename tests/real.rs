//! Data of real shops through the binary, compared with a computation from scratch after every epoch.
//!
//! Skipped where the data sets do not lie beside the workspace.

use crate::support::{Folder, data, lists_of_file, run};
use flate2::read::GzDecoder;
use std::fs::File;
use std::io::{BufRead, BufReader};

/// The rows of Online Retail that are used: three weeks, with some hundred cancellations.
const RETAIL_ROWS: usize = 20_000;

/// The beginning of Online Retail, in a file in `folder`.
fn retail(folder: &Folder) -> Option<String> {
    let file = File::open(data("online-retail.csv.gz")?).unwrap();
    // No field of it contains a line break.
    let lines = BufReader::new(GzDecoder::new(file)).split(b'\n').take(RETAIL_ROWS + 1);
    let lines: Vec<Vec<u8>> = lines.collect::<Result<_, _>>().unwrap();
    Some(folder.file("retail.csv", lines.join(&b'\n')))
}

fn check_retail(flags: &str, rejects: &str) {
    let folder = Folder::new();
    let Some(input) = retail(&folder) else { return };
    let output = folder.path("lists.jsonl");
    let job = "run --format online-retail --epoch-events 500 --verify-every 1 -w 2";
    let done = run(&format!("{job} --input {input} --output {output} {flags}"), &[]).expect(0);
    // The header is a record too.
    assert!(
        done.summary().contains(" of 20001 records") && done.summary().contains(" 41 epochs"),
        "{}",
        done.stderr
    );
    assert!(done.summary().contains(", verified "), "{}", done.stderr);
    assert!(done.summary().contains(rejects), "{}", done.stderr);
    assert!(lists_of_file(&output).lines().count() > 1500);
}

#[test]
fn online_retail_by_invoice() {
    check_retail("", "");
}

#[test]
fn online_retail_by_customer() {
    check_retail("--basket user --measure jaccard", "missing-basket");
}

/// Carts and users are answered, all of them again at every epoch, and compared with the model then. Invoices are carts
/// that nobody buys, so that there are many.
#[test]
fn online_retail_answers() {
    let folder = Folder::new();
    let Some(input) = retail(&folder) else { return };
    let [output, carts, users] = ["lists.jsonl", "carts.jsonl", "users.jsonl"].map(|name| folder.path(name));
    for way in ["baskets", "blend --blend lists=0.4,baskets=1,own=0.3 --exclude last"] {
        let job = "run --format csv --columns basket=InvoiceNo,item=StockCode,quantity=Quantity,time=InvoiceDate,\
                   user=CustomerID --epoch-events 1000 --verify-every 1 -w 2 --recommend items,carts,users --refresh 0 \
                   --open-for 5m --overwrite --answer-by";
        let places =
            format!("--input {input} --output {output} --output-carts {carts} --output-users {users}");
        let done = run(&format!("{job} {way} {places}"), &[]).expect(0);
        assert!(done.summary().contains(", verified "), "{}", done.stderr);
        let counts =
            [&carts, &users].map(|path| std::fs::read(path).unwrap().split(|&byte| byte == b'\n').count());
        assert!(counts.iter().all(|&count| count > 30), "{way}: {counts:?} answers of carts and users");
    }
}

#[test]
fn rees46() {
    let months = ["2022_oct", "2022_nov", "2022_dec", "2023_jan", "2023_feb"];
    let files: Option<Vec<String>> =
        months.iter().map(|month| data(&format!("rees46-cosmetics/data_{month}.csv"))).collect();
    let Some(files) = files else { return };
    let folder = Folder::new();
    let output = folder.path("lists.jsonl");
    for basket in ["session", "user"] {
        for more in ["", "--measure llr --engine reference -w 2"] {
            let job = "run --format rees46 --epoch-events 50 --verify-every 1";
            let places = format!("--input {} --output {output} --overwrite", files.join(" "));
            let done = run(&format!("{job} {places} --basket {basket} {more}"), &[]).expect(0);
            // The input is five files, each of 999 rows and a header.
            let summary = done.summary();
            assert!(
                summary.contains(" of 5000 records, 2321 views") && summary.contains(" 5 headers"),
                "{summary}"
            );
            assert!(summary.contains(", 20 epochs"), "{summary}");
            assert!(!lists_of_file(&output).is_empty());
        }
    }
}
