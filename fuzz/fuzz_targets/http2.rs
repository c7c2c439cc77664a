//! HTTP/2 frames of both sides are followed without a panic, and alike however they arrive.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::entrypoint::fuzzing::follow_frames;

fuzz_target!(|input: (u8, &[u8], &[u8])| {
    let (step, received, sent) = input;
    let step = usize::from(step).max(1);
    let whole = follow_frames([received], [sent]);
    assert_eq!(follow_frames(received.chunks(step), sent.chunks(step)), whole);
});
