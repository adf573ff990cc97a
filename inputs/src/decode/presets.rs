//! Which columns of a row mean what: from `--columns`, or as two public data sets have them.

use super::options::{BasketField, Column, Columns, Format, FormatError};
use super::sink::Kind;

/// What rows of one kind of file mean.
pub(super) struct Preset {
    pub(super) table: Table<Column>,
    /// The kind of event where no column names it.
    pub(super) kind: Kind,
    /// The names of events, beside the user's own.
    pub(super) names: &'static [(&'static str, Kind)],
    /// The column whose ids are integers that went through a float on their way: `17850.0` is 17850.
    pub(super) float_ids: Option<&'static str>,
}

/// Something for each column that is used.
pub(super) struct Table<C> {
    pub(super) basket: C,
    pub(super) item: C,
    pub(super) quantity: Option<C>,
    pub(super) time: Option<C>,
    pub(super) user: Option<C>,
    pub(super) event: Option<C>,
    pub(super) id: Option<C>,
}

impl<C> Table<C> {
    /// The same with `f` of each column, unless `f` fails.
    pub(super) fn try_map<D, E>(&self, f: impl Fn(&C) -> Result<D, E>) -> Result<Table<D>, E> {
        let optional = |column: &Option<C>| column.as_ref().map(&f).transpose();
        Ok(Table {
            basket: f(&self.basket)?,
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
pub(super) fn custom(columns: &Columns, basket: BasketField) -> Result<Preset, FormatError> {
    let Columns { basket: basket_column, item, quantity, time, user, event, id } = columns.clone();
    let (field, basket) = match basket {
        BasketField::Auto => ("basket", basket_column),
        BasketField::User => ("user", user.clone()),
        BasketField::Order | BasketField::Cart | BasketField::Session | BasketField::Key => {
            let known = "auto, with the column named by --columns basket=…, or user";
            return Err(FormatError::BasketUnknown { format: Format::Csv, basket, known });
        }
    };
    let basket = basket.ok_or(FormatError::ColumnMissing(field))?;
    let item = item.ok_or(FormatError::ColumnMissing("item"))?;
    let table = Table { basket, item, quantity, time, user, event, id };
    Ok(Preset { table, kind: Kind::Add, names: Kind::NAMES, float_ids: None })
}

/// The Online Retail set: every row is a line of an invoice, and a negative quantity one that came back.
pub(super) fn online_retail(basket: BasketField) -> Result<Preset, FormatError> {
    let basket = match basket {
        BasketField::Auto | BasketField::Order => "InvoiceNo",
        BasketField::User => "CustomerID",
        BasketField::Cart | BasketField::Session | BasketField::Key => {
            let known = "order or user";
            return Err(FormatError::BasketUnknown { format: Format::OnlineRetail, basket, known });
        }
    };
    let table = Table {
        basket: named(basket),
        item: named("StockCode"),
        quantity: Some(named("Quantity")),
        time: Some(named("InvoiceDate")),
        user: Some(named("CustomerID")),
        event: None,
        id: None,
    };
    Ok(Preset { table, kind: Kind::Purchase, names: &[], float_ids: Some("CustomerID") })
}

/// The event logs of the REES46 shops: one item an event, without quantities.
pub(super) fn rees46(basket: BasketField) -> Result<Preset, FormatError> {
    const NAMES: &[(&str, Kind)] = &[
        ("cart", Kind::Add),
        ("remove_from_cart", Kind::Remove),
        ("purchase", Kind::Purchase),
        ("view", Kind::View),
    ];
    let basket = match basket {
        BasketField::Auto | BasketField::Session => "user_session",
        BasketField::User => "user_id",
        BasketField::Order | BasketField::Cart | BasketField::Key => {
            let known = "session or user";
            return Err(FormatError::BasketUnknown { format: Format::Rees46, basket, known });
        }
    };
    let table = Table {
        basket: named(basket),
        item: named("product_id"),
        quantity: None,
        time: Some(named("event_time")),
        user: Some(named("user_id")),
        event: Some(named("event_type")),
        id: None,
    };
    Ok(Preset { table, kind: Kind::Other, names: NAMES, float_ids: None })
}

fn named(name: &str) -> Column {
    Column::Name(name.into())
}
