//! What the orders of shop systems look like, as their webhooks send them.
//!
//! A shop sends the whole order again whenever something about it changes. So each record is an update: the order is
//! what is listed now. An order that is cancelled, or was never paid, holds nothing.

/// How to read the orders of one system.
pub(super) struct Shop {
    /// Where the fields are, as for `--fields`.
    pub(super) fields: &'static str,
    /// Fields that orders have, and other things with lines (carts) do not: one is enough. Empty where the lines are.
    pub(super) marks: &'static [&'static str],
    /// Fields that things with lines have which are no orders (checkouts, shipments).
    pub(super) not_orders: &'static [&'static str],
    /// The field that says since when an order is cancelled.
    pub(super) cancelled: Option<&'static str>,
    /// The field that says how an order stands.
    pub(super) status: Option<&'static str>,
    /// What stands there when nothing is bought, or not any more.
    pub(super) not_bought: &'static [&'static str],
    /// The id of nobody.
    pub(super) nobody: Option<&'static str>,
}

/// Shopify: `orders/create`, `orders/updated`, `orders/cancelled`, `orders/paid`.
pub(super) const SHOPIFY: Shop = Shop {
    // `current_quantity` is what is left of a line after returns.
    fields: "basket=id,item=line_items[].sku|line_items[].variant_id|line_items[].product_id,\
             quantity=line_items[].current_quantity|line_items[].quantity,time=created_at,user=customer.id",
    marks: &["name", "order_number", "financial_status", "processed_at"],
    not_orders: &["order_id", "abandoned_checkout_url", "invoice_url"],
    cancelled: Some("cancelled_at"),
    status: None,
    not_bought: &[],
    nobody: None,
};

/// WooCommerce: `order.created`, `order.updated`.
pub(super) const WOOCOMMERCE: Shop = Shop {
    fields: "basket=id,item=line_items[].sku|line_items[].product_id,quantity=line_items[].quantity,\
             time=date_created_gmt|date_created,user=customer_id",
    marks: &[],
    not_orders: &[],
    cancelled: None,
    status: Some("status"),
    not_bought: &[
        "pending",
        "checkout-draft",
        "auto-draft",
        "draft",
        "cancelled",
        "refunded",
        "failed",
        "trash",
    ],
    // Guests.
    nobody: Some("0"),
};
