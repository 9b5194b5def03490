//! Resync: reads a vendor's whole directory, compares it with ours, and reports what differs; told to
//! apply, it marks what drifted as work, and the normal way mends it.

pub mod paging;
