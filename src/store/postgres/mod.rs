//! The store of many replicas: one PostgreSQL database, any number of relays.

mod rows;
