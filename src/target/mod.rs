//! temp
pub mod verdict;
