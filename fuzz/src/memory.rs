//! How much memory one input may take: of the order of its length, however it is written.

use std::alloc::System;

use cap::Cap;

/// Refuses what is over the limit, which ends the process.
#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// Bytes for each byte of input. A list of digits takes 16 times its length as values of JSON, and is
/// held up to three times while it is read.
const PER_BYTE: usize = 64;
/// Bytes on top: buffers of fixed size, and what is made once and kept.
const CONSTANT: usize = 4 * 1024 * 1024;

/// Does the work for an input of this length within its share of memory.
pub fn bounded(input_bytes: usize, work: impl FnOnce()) {
    let most = ALLOCATOR.allocated() + CONSTANT + PER_BYTE * input_bytes;
    ALLOCATOR.set_limit(most).expect("the limit is over what is allocated");
    work();
    ALLOCATOR.set_limit(usize::MAX).expect("there is no such limit");
}
