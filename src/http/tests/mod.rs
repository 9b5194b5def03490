//! The server over real ports.
