//! Between the relay's types and PostgreSQL's columns, and statements that are prepared once a connection.

use std::borrow::Cow;
use std::error::Error;

use bytes::BytesMut;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_postgres::Row as SqlRow;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use crate::clock::Timestamp;
use crate::directory::{ExternalId, Kind, ResourceKey, Version};
use crate::store::postgres::fault::Unreadable;
use crate::store::{Lane, StoreError};

/// A transaction whose connection keeps the statements that it has prepared.
pub(super) type Tx<'a> = deadpool_postgres::Transaction<'a>;
/// A statement's arguments.
pub(super) type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// `work.state` of a row to be sent.
pub(super) const PENDING: i16 = 0;
/// `work.state` of a row that waits for something outside.
pub(super) const WAITING: i16 = 1;
/// `work.state` of a row that waits for a person.
pub(super) const PARKED: i16 = 2;
/// `work.state` of a row about which a person decides.
pub(super) const HELD: i16 = 3;

/// All rows of a query.
pub(super) async fn query(tx: &Tx<'_>, sql: &str, params: Params<'_>) -> Result<Vec<SqlRow>, StoreError> {
    let statement = tx.prepare_cached(sql).await?;
    Ok(tx.query(&statement, params).await?)
}

/// The only row of a query, if there is one.
pub(super) async fn query_opt(
    tx: &Tx<'_>,
    sql: &str,
    params: Params<'_>,
) -> Result<Option<SqlRow>, StoreError> {
    let statement = tx.prepare_cached(sql).await?;
    Ok(tx.query_opt(&statement, params).await?)
}

/// The one row of a query.
pub(super) async fn query_one(tx: &Tx<'_>, sql: &str, params: Params<'_>) -> Result<SqlRow, StoreError> {
    let statement = tx.prepare_cached(sql).await?;
    Ok(tx.query_one(&statement, params).await?)
}

/// Runs a statement; answers how many rows it touched.
pub(super) async fn execute(tx: &Tx<'_>, sql: &str, params: Params<'_>) -> Result<u64, StoreError> {
    let statement = tx.prepare_cached(sql).await?;
    Ok(tx.execute(&statement, params).await?)
}

/// A count for a `bigint` column. Numbers of ours start at zero and grow by one.
pub(super) fn big(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A row limit.
pub(super) fn limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

/// A count from a `bigint` column.
pub(super) fn unsigned(row: &SqlRow, column: usize, table: &'static str) -> Result<u64, StoreError> {
    let number: i64 = row.try_get(column)?;
    u64::try_from(number).map_err(|_| corrupt(table, format!("{number}")))
}

/// A count from an `integer` column.
pub(super) fn unsigned_int(row: &SqlRow, column: usize, table: &'static str) -> Result<u32, StoreError> {
    let number: i32 = row.try_get(column)?;
    u32::try_from(number).map_err(|_| corrupt(table, format!("{number}")))
}

/// Keys as two columns.
pub(super) fn key_columns<'a>(
    keys: impl IntoIterator<Item = &'a ResourceKey>,
) -> (Vec<Kind>, Vec<&'a ExternalId>) {
    keys.into_iter().map(|key| (key.kind, &key.id)).unzip()
}

/// The key in two neighbouring columns.
pub(super) fn key_at(row: &SqlRow, column: usize) -> Result<ResourceKey, StoreError> {
    Ok(ResourceKey { kind: row.try_get(column)?, id: row.try_get(column + 1)? })
}

/// A row of `place` in `table` that is not what it must be.
pub(super) fn corrupt(table: &'static str, place: impl Into<String>) -> StoreError {
    StoreError::Corrupt { table, place: place.into() }
}

/// JSON for a column. A control character is escaped in it, so that PostgreSQL takes every text.
pub(super) fn to_json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("our own types have text keys and no failing serializer")
}

/// JSON from a column.
pub(super) fn from_json<T: DeserializeOwned>(
    text: &str,
    table: &'static str,
    place: &str,
) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|_| corrupt(table, place))
}

/// Text for a column. PostgreSQL keeps every character but U+0000, which a vendor's words may hold.
pub(super) fn storable(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{FFFD}")) } else { Cow::Borrowed(text) }
}

/// A type of ours as one that PostgreSQL's driver knows.
macro_rules! column {
    ($ours:ty, $theirs:ty, |$value:ident| $to:expr, |$column:ident| $from:expr) => {
        impl ToSql for $ours {
            fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
                let $value = self;
                $to.to_sql(ty, out)
            }

            fn accepts(ty: &Type) -> bool {
                <$theirs as ToSql>::accepts(ty)
            }

            to_sql_checked!();
        }

        impl<'a> FromSql<'a> for $ours {
            fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
                let $column = <$theirs as FromSql>::from_sql(ty, raw)?;
                let ours: Result<Self, String> = $from;
                Ok(ours.map_err(Unreadable)?)
            }

            fn accepts(ty: &Type) -> bool {
                <$theirs as FromSql>::accepts(ty)
            }
        }
    };
}

column!(Timestamp, i64, |time| time.as_micros(), |micros| Ok(Self::from_micros(micros)));
column!(ExternalId, &str, |id| id.as_str(), |text| { Self::parse(text).map_err(|error| error.to_string()) });
column!(Version, &[u8], |version| version.to_sort_key().as_slice(), |key| {
    Self::from_sort_key(key).ok_or_else(|| "these bytes are no version".to_owned())
});
column!(
    Kind,
    i16,
    |kind| match kind {
        Self::User => 0_i16,
        Self::Group => 1,
    },
    |number| match number {
        0 => Ok(Self::User),
        1 => Ok(Self::Group),
        other => Err(format!("{other} is no kind")),
    }
);
column!(
    Lane,
    i16,
    |lane| match lane {
        Self::Deprovision => 0_i16,
        Self::Revoke => 1,
        Self::Change => 2,
        Self::Membership => 3,
        Self::Backfill => 4,
    },
    |number| {
        let lane = usize::try_from(number).ok().and_then(|index| Self::ALL.get(index).copied());
        lane.ok_or_else(|| format!("{number} is no lane"))
    }
);
