//! sqlx's pool, which lends connections of a database and nothing else: here of one that does nothing.
//!
//! Nothing is ever asked of it, so what a database has beside connections cannot even be made. The pool gives each connection back
//! in a task of its own, and asks the server there whether it lives, which costs nothing here.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx_core::Either;
use sqlx_core::arguments::Arguments;
use sqlx_core::column::{Column, ColumnIndex};
use sqlx_core::connection::{ConnectOptions, Connection};
use sqlx_core::database::Database;
use sqlx_core::encode::Encode;
use sqlx_core::error::{BoxDynError, Error};
use sqlx_core::pool::{Pool, PoolConnection, PoolOptions};
use sqlx_core::row::Row;
use sqlx_core::sql_str::SqlStr;
use sqlx_core::statement::Statement;
use sqlx_core::transaction::{Transaction, TransactionManager};
use sqlx_core::type_info::TypeInfo;
use sqlx_core::types::Type;
use sqlx_core::value::{Value, ValueRef};

use super::CONNECTIONS;
use super::rivals::Numbers;
use super::tasks::{self, TaskPool};

/// As users have it, but that what it lends is not tested.
pub(super) fn pool() -> Pool<Idle> {
    PoolOptions::new()
        .max_connections(CONNECTIONS)
        .test_before_acquire(false)
        .connect_lazy_with(Server(Arc::default()))
}

impl TaskPool for Pool<Idle> {
    type Lent<'a> = Lent;

    async fn lend(&self) -> Lent {
        Lent(self.acquire().await.expect("it comes back"))
    }
}

pub(super) struct Lent(PoolConnection<Idle>);

impl std::ops::Deref for Lent {
    type Target = tasks::Connection;

    fn deref(&self) -> &tasks::Connection {
        &self.0.0
    }
}

/// The database.
#[derive(Debug)]
pub(super) struct Idle;

impl Database for Idle {
    type Connection = Number;
    type TransactionManager = Idle;
    type Row = Nothing;
    type QueryResult = Nobody;
    type Column = Nothing;
    type TypeInfo = Nothing;
    type Value = Nothing;
    type ValueRef<'r> = Nothing;
    type Arguments = Nobody;
    type ArgumentBuffer = ();
    type Statement = Nothing;

    const NAME: &'static str = "idle";
    const URL_SCHEMES: &'static [&'static str] = &["idle"];
}

#[derive(Debug, Clone)]
pub(super) struct Server(Arc<Numbers>);

impl FromStr for Server {
    type Err = Error;

    fn from_str(_: &str) -> Result<Self, Error> {
        Ok(Self(Arc::default()))
    }
}

impl ConnectOptions for Server {
    type Connection = Number;

    fn from_url(_: &sqlx_core::Url) -> Result<Self, Error> {
        Ok(Self(Arc::default()))
    }

    async fn connect(&self) -> Result<Number, Error> {
        Ok(Number(self.0.next()))
    }

    fn log_statements(self, _: log::LevelFilter) -> Self {
        self
    }

    fn log_slow_statements(self, _: log::LevelFilter, _: Duration) -> Self {
        self
    }
}

pub(super) struct Number(tasks::Connection);

impl Connection for Number {
    type Database = Idle;
    type Options = Server;

    async fn close(self) -> Result<(), Error> {
        Ok(())
    }

    async fn close_hard(self) -> Result<(), Error> {
        Ok(())
    }

    async fn ping(&mut self) -> Result<(), Error> {
        Ok(())
    }

    async fn begin(&mut self) -> Result<Transaction<'_, Idle>, Error> {
        Transaction::begin(self, None).await
    }

    fn shrink_buffers(&mut self) {}

    async fn flush(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn should_flush(&self) -> bool {
        false
    }
}

impl TransactionManager for Idle {
    type Database = Self;

    async fn begin(_: &mut Number, _: Option<SqlStr>) -> Result<(), Error> {
        Ok(())
    }

    async fn commit(_: &mut Number) -> Result<(), Error> {
        Ok(())
    }

    async fn rollback(_: &mut Number) -> Result<(), Error> {
        Ok(())
    }

    fn start_rollback(_: &mut Number) {}

    fn get_transaction_depth(_: &Number) -> usize {
        0
    }
}

/// Results and arguments, which are there and empty.
#[derive(Default)]
pub(super) struct Nobody;

impl Extend<Nobody> for Nobody {
    fn extend<I: IntoIterator<Item = Nobody>>(&mut self, _: I) {}
}

impl Arguments for Nobody {
    type Database = Idle;

    fn reserve(&mut self, _: usize, _: usize) {}

    fn add<'t, T>(&mut self, _: T) -> Result<(), BoxDynError>
    where
        T: Encode<'t, Idle> + Type<Idle>,
    {
        Ok(())
    }

    fn len(&self) -> usize {
        0
    }
}

/// Rows, values, statements, of which there are none.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Nothing {}

impl fmt::Display for Nothing {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

impl Row for Nothing {
    type Database = Idle;

    fn columns(&self) -> &[Nothing] {
        match *self {}
    }

    fn try_get_raw<I: ColumnIndex<Self>>(&self, _: I) -> Result<Nothing, Error> {
        match *self {}
    }
}

impl Column for Nothing {
    type Database = Idle;

    fn ordinal(&self) -> usize {
        match *self {}
    }

    fn name(&self) -> &str {
        match *self {}
    }

    fn type_info(&self) -> &Nothing {
        match *self {}
    }
}

impl TypeInfo for Nothing {
    fn is_null(&self) -> bool {
        match *self {}
    }

    fn name(&self) -> &str {
        match *self {}
    }
}

impl Value for Nothing {
    type Database = Idle;

    fn as_ref(&self) -> Nothing {
        match *self {}
    }

    fn type_info(&self) -> Cow<'_, Nothing> {
        match *self {}
    }

    fn is_null(&self) -> bool {
        match *self {}
    }
}

impl ValueRef<'_> for Nothing {
    type Database = Idle;

    fn to_owned(&self) -> Nothing {
        match *self {}
    }

    fn type_info(&self) -> Cow<'_, Nothing> {
        match *self {}
    }

    fn is_null(&self) -> bool {
        match *self {}
    }
}

impl Statement for Nothing {
    type Database = Idle;

    fn into_sql(self) -> SqlStr {
        match self {}
    }

    fn sql(&self) -> &SqlStr {
        match *self {}
    }

    fn parameters(&self) -> Option<Either<&[Nothing], usize>> {
        match *self {}
    }

    fn columns(&self) -> &[Nothing] {
        match *self {}
    }

    sqlx_core::impl_statement_query!(Nobody);
}
