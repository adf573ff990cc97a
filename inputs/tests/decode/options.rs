//! The settings of decoding, as they are typed.

use deltacart_inputs::{
    Basket, BasketField, Column, Columns, DecodeOptions, Delimiter, EventNames, FieldPaths, Format,
    FormatError, Reason,
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
    assert_eq!("user".parse(), Ok(Basket::Id(BasketField::User)));
    assert_eq!("a+b".parse(), Ok(Basket::Joined(vec!["a".into(), "b".into()])));
    assert!("a+".parse::<Basket>().is_err() && "member".parse::<Basket>().is_err());
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
    assert_eq!(columns.basket, [Column::Name("Invoice No".into())]);
    assert_eq!(columns.item, Some(Column::Position(1)));
    assert_eq!(columns.quantity, name("#x"));
    assert_eq!(columns.time, name("a=b"));
    let columns: Columns = "basket=member+#3,item=a+b".parse().unwrap();
    assert_eq!(columns.basket, [Column::Name("member".into()), Column::Position(2)]);
    assert_eq!(columns.item, name("a+b"));
    for bad in [
        "",
        "basket",
        "basket=",
        "basket=a+",
        "basket=#0",
        "basket=a,basket=b",
        "price=p",
        "basket=a,,item=b",
    ] {
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
        options.basket = Basket::Id(basket);
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
    assert!(error(Format::Shopify, Session, "").contains("--basket session"));
    assert!(error(Format::Baskets, Order, "").contains("--basket order"));
    for format in [Format::Json, Format::Ga4, Format::Segment, Format::Snowplow] {
        for basket in BasketField::ALL {
            assert_eq!(error(format, *basket, ""), "");
        }
    }
}

#[test]
fn fields_that_contradict_each_other_are_errors_that_say_why() {
    let error = |format: Format, basket: &str, fields: &str| {
        let mut options = DecodeOptions::new(format);
        options.basket = basket.parse().unwrap();
        options.fields = fields.parse::<FieldPaths>().unwrap();
        options.decoder().err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert_eq!(error(Format::Json, "auto", "basket=id,item=lines[].sku,quantity=lines[].n"), "");
    assert_eq!(error(Format::Json, "user", "user=customer.id,item=sku"), "");
    assert_eq!(error(Format::Json, "a.b+c", "item=sku"), "");
    assert_eq!(error(Format::Shopify, "order", "item=line_items[].product_id"), "");
    for (basket, fields, why) in [
        ("auto", "item=sku", "where the basket is"),
        ("auto", "basket=id", "where the item is"),
        ("user", "basket=id,item=sku", "where the user is"),
        ("session", "basket=id,item=sku", "--basket session"),
        ("auto", "basket=lines[].id,item=lines[].sku", "only items and quantities"),
        ("auto", "basket=id,item=lines[].sku,quantity=rows[].n", "another list"),
        ("auto", "basket=id,item=lines[].sku,quantity=n", "in one list"),
        ("auto", "basket=id,item=sku,user=id.x", "has fields in the other"),
        ("auto", "basket=id.x,item=sku,user=id", "has fields in the other"),
        ("auto", "basket=a.b,item=a[].sku", "a list in the other"),
        ("auto", "basket=a[0],item=a[].sku", "a list in two ways"),
    ] {
        let error = error(Format::Json, basket, fields);
        assert!(error.contains(why), "{basket} {fields}: {error}");
    }
    assert!(error(Format::Ga4, "auto", "item=sku").contains("--fields goes with"));
}
