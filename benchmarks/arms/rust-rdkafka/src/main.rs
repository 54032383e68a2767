// SPDX-License-Identifier: MIT

//! rust-rdkafka's StreamConsumer: `recv().await`, `store_offset_from_message`, librdkafka's auto-commit of what was stored each second.

use std::collections::HashMap;
use std::fs;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance, StreamConsumer};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::util::get_rdkafka_version;
use rdkafka::ClientContext;
use tokio::signal::unix::{signal, SignalKind};

const STAMP_INTERVAL: i64 = 256;
const CLOCK_INTERVAL: i64 = 1024;

struct Context;

impl ClientContext for Context {}

impl ConsumerContext for Context {
    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(partitions) = rebalance {
            println!("{{\"event\":\"assigned\",\"partitions\":{},\"unix_ns\":{}}}", partitions.count(), wall_clock_ns());
        }
    }
}

fn wall_clock_ns() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as i64
}

/// The sum of the value's little-endian 64-bit words, the last one padded with zeros.
fn checksum(value: &[u8]) -> u64 {
    let mut words = value.chunks_exact(8);
    let mut sum = 0u64;
    for word in &mut words {
        sum = sum.wrapping_add(u64::from_le_bytes(word.try_into().unwrap()));
    }
    let mut tail = [0u8; 8];
    tail[..words.remainder().len()].copy_from_slice(words.remainder());
    sum.wrapping_add(u64::from_le_bytes(tail))
}

fn spin(state: u64, rounds: i64) -> u64 {
    let mut state = state | 1;
    for _ in 0..rounds {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
    }
    state
}

#[derive(Default)]
struct Tally {
    messages: i64,
    bytes: i64,
    checksum: u64,
    first_ns: i64,
    last_ns: i64,
    finish: i64,
    spin_rounds: i64,
    spun: u64,
    sample_interval: i64,
    samples: Vec<i64>,
}

impl Tally {
    fn take(&mut self, message: &BorrowedMessage<'_>) {
        let value = message.payload().unwrap_or_default();
        if self.messages == 0 {
            self.first_ns = wall_clock_ns();
        }
        self.checksum = self.checksum.wrapping_add(checksum(value));
        self.bytes += value.len() as i64;
        self.messages += 1;
        if self.messages % STAMP_INTERVAL == 0 || self.messages == self.finish {
            self.last_ns = wall_clock_ns();
        }
        if self.sample_interval != 0 && self.messages % self.sample_interval == 0 {
            let intended = i64::from_le_bytes(value[..8].try_into().unwrap());
            self.samples.extend([wall_clock_ns(), intended, i64::from(message.partition()) << 40 | message.offset()]);
        }
        if self.spin_rounds != 0 {
            self.spun = self.spun.wrapping_add(spin(message.offset() as u64, self.spin_rounds));
        }
    }
}

async fn drain(consumer: &StreamConsumer<Context>, tally: &mut Tally) {
    let mut reported = Instant::now();
    while tally.finish == 0 || tally.messages < tally.finish {
        match consumer.recv().await {
            Ok(message) => {
                tally.take(&message);
                consumer.store_offset_from_message(&message).expect("an offset stored");
            }
            Err(error) => eprintln!("{error}"),
        }
        if tally.messages % CLOCK_INTERVAL == 0 && reported.elapsed() >= Duration::from_secs(1) {
            reported = Instant::now();
            println!("{{\"event\":\"progress\",\"msgs\":{}}}", tally.messages);
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let options: HashMap<&str, &str> =
        arguments.chunks_exact(2).map(|pair| (pair[0].as_str(), pair[1].as_str())).collect();
    let number = |name: &str| options.get(name).map_or(0, |value| value.parse::<i64>().expect("a number"));
    let mut tally = Tally {
        finish: number("--messages"),
        spin_rounds: number("--spin"),
        sample_interval: if options.contains_key("--samples") { number("--sample-interval").max(1) } else { 0 },
        ..Tally::default()
    };

    let consumer: StreamConsumer<Context> = ClientConfig::new()
        .set("bootstrap.servers", options["--brokers"])
        .set("group.id", options["--group"])
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "true")
        .set("auto.commit.interval.ms", "1000")
        .set("enable.auto.offset.store", "false")
        .set_log_level(RDKafkaLogLevel::Warning)
        .create_with_context(Context)
        .expect("a consumer");
    consumer.subscribe(&[options["--topic"]]).expect("a subscription");

    // One select around the loop, not one a record: the loop suspends only when nothing is there.
    let mut terminated = signal(SignalKind::terminate()).expect("a signal handler");
    tokio::select! {
        () = drain(&consumer, &mut tally) => {}
        _ = terminated.recv() => {}
    }
    if tally.messages > 0 {
        if let Err(error) = consumer.commit_consumer_state(CommitMode::Sync) {
            eprintln!("commit: {error}");
        }
    }

    println!(
        "{{\"event\":\"result\",\"client\":\"rust-rdkafka 0.39.0, librdkafka {}\",\"msgs\":{},\"bytes\":{},\"checksum\":\"{:016x}\",\
         \"first_unix_ns\":{},\"last_unix_ns\":{},\"spun\":\"{:x}\"}}",
        get_rdkafka_version().1, tally.messages, tally.bytes, tally.checksum, tally.first_ns, tally.last_ns, tally.spun
    );
    if let Some(path) = options.get("--samples") {
        let bytes: Vec<u8> = tally.samples.iter().flat_map(|number| number.to_le_bytes()).collect();
        fs::write(path, bytes).expect("the samples written");
    }
}
