//! The settings of decoding, as they are typed.

use deltacart_inputs::{
    BasketField, Column, Columns, DecodeOptions, Delimiter, EventNames, Format, FormatError, Reason,
};

#[test]
fn names_are_read_back() {
    for format in Format::ALL {
        assert_eq!(format.name().parse(), Ok(*format));
    }
    for basket in BasketField::ALL {
        assert_eq!(basket.name().parse(), Ok(*basket));
    }
    assert_eq!("cloudevents".parse::<Format>(), Err(FormatError::Envelope));
    assert_eq!("xml".parse::<Format>(), Err(FormatError::UnknownFormat("xml".into())));
    assert!("Cart".parse::<BasketField>().is_err());
}

#[test]
fn reasons_have_stable_names() {
    let mut names: Vec<&str> = Reason::ALL.iter().map(|reason| reason.name()).collect();
    assert!(
        names
            .iter()
            .all(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-' || b.is_ascii_digit()))
    );
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Reason::ALL.len());
}

#[test]
fn columns() {
    let columns: Columns = "basket=Invoice No,item=#2,quantity=#x,time=a=b".parse().unwrap();
    let name = |name: &str| Some(Column::Name(name.into()));
    assert_eq!(columns.basket, name("Invoice No"));
    assert_eq!(columns.item, Some(Column::Position(1)));
    assert_eq!(columns.quantity, name("#x"));
    assert_eq!(columns.time, name("a=b"));
    for bad in ["", "basket", "basket=", "basket=#0", "basket=a,basket=b", "price=p", "basket=a,,item=b"] {
        assert!(bad.parse::<Columns>().is_err(), "{bad}");
    }
}

#[test]
fn event_names_and_delimiters() {
    for good in
        ["add=cart", "add=cart,add=Put In,remove=out,other=*", "update=u,cancel=c,forget=f,set=s,view=v"]
    {
        assert!(good.parse::<EventNames>().is_ok(), "{good}");
    }
    for bad in ["", "add", "add=", "add=*", "put=in", "add=cart,remove=cart"] {
        assert!(bad.parse::<EventNames>().is_err(), "{bad}");
    }
    assert_eq!(",".parse(), Ok(Delimiter::default()));
    assert_eq!("tab".parse::<Delimiter>(), "\t".parse());
    for bad in ["", "\"", "\n", ";;", "ä"] {
        assert!(bad.parse::<Delimiter>().is_err(), "{bad}");
    }
}

#[test]
fn contradictions_are_errors_that_name_the_flag() {
    let error = |format: Format, basket: BasketField, columns: &str| {
        let mut options = DecodeOptions::new(format);
        options.basket = basket;
        if !columns.is_empty() {
            options.columns = columns.parse().unwrap();
        }
        options.decoder().err().map(|error| error.to_string()).unwrap_or_default()
    };
    use BasketField::*;
    assert_eq!(error(Format::Csv, Auto, "basket=b,item=i"), "");
    assert_eq!(error(Format::Csv, User, "user=u,item=i"), "");
    assert!(error(Format::Csv, Auto, "").contains("basket=NAME"));
    assert!(error(Format::Csv, Auto, "basket=b").contains("item=NAME"));
    assert!(error(Format::Csv, User, "basket=b,item=i").contains("user=NAME"));
    assert!(error(Format::Csv, Session, "basket=b,item=i").contains("--basket session"));
    assert!(error(Format::Json, Auto, "basket=b,item=i").contains("--columns"));
    assert!(error(Format::OnlineRetail, Session, "").contains("order or user"));
    assert!(error(Format::Rees46, Cart, "").contains("session or user"));
    assert!(error(Format::Fimi, User, "").contains("--basket user"));
    for format in [Format::Json, Format::Ga4, Format::Segment, Format::Snowplow] {
        for basket in BasketField::ALL {
            assert_eq!(error(format, *basket, ""), "");
        }
    }
}
