//! Which columns of a row mean what: from `--columns`, or as two public data sets have them.

use super::FormatError;
use super::columns::{Column, Columns};
use super::options::{Basket, BasketField, Format};
use super::sink::Kind;
use super::time_format::TimeFormat;

/// What rows of one kind of file mean.
pub(super) struct Preset {
    pub(super) table: Table<Wanted>,
    /// The kind of event where no column names it.
    pub(super) kind: Kind,
    /// The names of events, beside the user's own.
    pub(super) names: &'static [(&'static str, Kind)],
    /// How times are written that are neither RFC 3339 nor numbers.
    pub(super) time_format: Option<TimeFormat>,
}

/// A column as it is looked for.
pub(super) struct Wanted {
    /// Where it is, or the names it has in one edition of a file or another.
    pub(super) columns: Vec<Column>,
    /// Its ids are integers that went through a float on their way: `17850.0` is 17850.
    pub(super) has_float_ids: bool,
}

/// Something for each column that is used.
pub(super) struct Table<C> {
    /// One, or several that make the basket together.
    pub(super) basket: Vec<C>,
    pub(super) item: C,
    pub(super) quantity: Option<C>,
    pub(super) time: Option<C>,
    pub(super) user: Option<C>,
    pub(super) event: Option<C>,
    pub(super) id: Option<C>,
}

impl<C> Table<C> {
    /// `f` of each column, unless `f` fails.
    pub(super) fn try_map<D, E>(&self, f: impl Fn(&C) -> Result<D, E>) -> Result<Table<D>, E> {
        let optional = |column: &Option<C>| column.as_ref().map(&f).transpose();
        Ok(Table {
            basket: self.basket.iter().map(&f).collect::<Result<_, E>>()?,
            item: f(&self.item)?,
            quantity: optional(&self.quantity)?,
            time: optional(&self.time)?,
            user: optional(&self.user)?,
            event: optional(&self.event)?,
            id: optional(&self.id)?,
        })
    }
}

/// Rows as `--columns` describes them. The basket is the column of that name, or the one of the user.
pub(super) fn custom(columns: &Columns, basket: &Basket) -> Result<Preset, FormatError> {
    let Columns { basket: basket_columns, item, quantity, time, user, event, id } = columns.clone();
    let wanted = |column| Wanted { columns: vec![column], has_float_ids: false };
    let (field, basket): (_, Vec<Wanted>) = match basket {
        Basket::Id(BasketField::Auto) => ("basket", basket_columns.into_iter().map(wanted).collect()),
        Basket::Id(BasketField::User) => ("user", user.clone().map(wanted).into_iter().collect()),
        Basket::Id(_) => {
            let known =
                "auto, with the column named by --columns basket=…, user, or columns such as member+date";
            return Err(FormatError::BasketUnknown { format: Format::Csv, basket: basket.clone(), known });
        }
        Basket::Joined(parts) => ("basket", typed(parts, &[])),
    };
    if basket.is_empty() {
        return Err(FormatError::ColumnMissing(field));
    }
    let item = item.ok_or(FormatError::ColumnMissing("item"))?;
    let table = Table {
        basket,
        item: wanted(item),
        quantity: quantity.map(wanted),
        time: time.map(wanted),
        user: user.map(wanted),
        event: event.map(wanted),
        id: id.map(wanted),
    };
    Ok(Preset { table, kind: Kind::Add, names: Kind::NAMES, time_format: None })
}

/// The Online Retail sets, the first and the second: every row is a line of an invoice, and a negative quantity one
/// that came back.
pub(super) fn online_retail(basket: &Basket) -> Result<Preset, FormatError> {
    const INVOICE: &[&str] = &["InvoiceNo", "Invoice"];
    const CUSTOMER: &[&str] = &["CustomerID", "Customer ID"];
    let customer = || Wanted { has_float_ids: true, ..named(CUSTOMER) };
    let basket = match basket {
        Basket::Id(BasketField::Auto | BasketField::Order) => vec![named(INVOICE)],
        Basket::Id(BasketField::User) => vec![customer()],
        Basket::Id(_) => {
            let known = "order or user";
            return Err(FormatError::BasketUnknown {
                format: Format::OnlineRetail,
                basket: basket.clone(),
                known,
            });
        }
        Basket::Joined(parts) => typed(parts, CUSTOMER),
    };
    let table = Table {
        basket,
        item: named(&["StockCode"]),
        quantity: Some(named(&["Quantity"])),
        time: Some(named(&["InvoiceDate"])),
        user: Some(customer()),
        event: None,
        id: None,
    };
    let time_format = Some(TimeFormat::month_first());
    Ok(Preset { table, kind: Kind::Purchase, names: &[], time_format })
}

/// The event logs of the REES46 shops: one item an event, without quantities.
pub(super) fn rees46(basket: &Basket) -> Result<Preset, FormatError> {
    const NAMES: &[(&str, Kind)] = &[
        ("cart", Kind::Add),
        ("remove_from_cart", Kind::Remove),
        ("purchase", Kind::Purchase),
        ("view", Kind::View),
    ];
    let basket = match basket {
        Basket::Id(BasketField::Auto | BasketField::Session) => vec![named(&["user_session"])],
        Basket::Id(BasketField::User) => vec![named(&["user_id"])],
        Basket::Id(_) => {
            let known = "session or user";
            return Err(FormatError::BasketUnknown { format: Format::Rees46, basket: basket.clone(), known });
        }
        Basket::Joined(parts) => typed(parts, &[]),
    };
    let table = Table {
        basket,
        item: named(&["product_id"]),
        quantity: None,
        time: Some(named(&["event_time"])),
        user: Some(named(&["user_id"])),
        event: Some(named(&["event_type"])),
        id: None,
    };
    Ok(Preset { table, kind: Kind::Other, names: NAMES, time_format: None })
}

/// A column that has one of these names.
fn named(names: &[&str]) -> Wanted {
    let columns = names.iter().map(|name| Column::Name((*name).into())).collect();
    Wanted { columns, has_float_ids: false }
}

/// Columns as they were typed; those of `float_ids` have the ids of a float.
fn typed(parts: &[String], float_ids: &[&str]) -> Vec<Wanted> {
    let wanted = |part: &String| {
        let columns = Column::typed(part).into_iter().collect();
        Wanted { columns, has_float_ids: float_ids.contains(&part.as_str()) }
    };
    parts.iter().map(wanted).collect()
}
