# SPDX-License-Identifier: MIT
"""confluent-kafka's Consumer for Python: consume() in batches, store_offsets, librdkafka's auto-commit of what was stored each second."""

import array
import json
import signal
import struct
import sys
import time

import confluent_kafka

STAMP_INTERVAL = 256
BATCH_SIZE = 500


def checksum(value: bytes) -> int:
    """The sum of the value's little-endian 64-bit words, the last one padded with zeros."""
    whole = len(value) // 8
    return sum(struct.unpack_from(f"<{whole}Q", value)) + int.from_bytes(value[whole * 8:], "little")


def report(**line) -> None:
    print(json.dumps(line), flush=True)


def main() -> None:
    options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
    finish = int(options.get("--messages", "0"))
    samples = array.array("q")
    sample_interval = int(options.get("--sample-interval", "1")) if "--samples" in options else 0
    running = True

    def interrupt(*_) -> None:
        nonlocal running
        running = False

    signal.signal(signal.SIGTERM, interrupt)
    consumer = confluent_kafka.Consumer({
        "bootstrap.servers": options["--brokers"],
        "group.id": options["--group"],
        "auto.offset.reset": "earliest",
        "enable.auto.commit": True,
        "auto.commit.interval.ms": 1000,
        "enable.auto.offset.store": False,
    })
    consumer.subscribe([options["--topic"]], on_assign=lambda _, partitions: report(
        event="assigned", partitions=len(partitions), unix_ns=time.time_ns()))

    messages = size = total = first = last = 0
    reported = time.monotonic()
    while running and (finish == 0 or messages < finish):
        batch = consumer.consume(BATCH_SIZE, 0.1) if sample_interval != 1 else [consumer.poll(0.1)]
        for message in batch:
            if message is None:
                continue
            if message.error() is not None:
                print(message.error(), file=sys.stderr)
                continue
            value = message.value()
            if messages == 0:
                first = time.time_ns()
            total += checksum(value)
            size += len(value)
            messages += 1
            if messages % STAMP_INTERVAL == 0 or messages == finish:
                last = time.time_ns()
            if sample_interval != 0 and messages % sample_interval == 0:
                samples.extend((time.time_ns(), int.from_bytes(value[:8], "little"),
                                message.partition() << 40 | message.offset()))
            consumer.store_offsets(message)
        if time.monotonic() - reported >= 1:
            reported = time.monotonic()
            report(event="progress", msgs=messages)
    consumer.close()

    report(event="result", client=f"confluent-kafka {confluent_kafka.__version__}, librdkafka {confluent_kafka.libversion()[0]}",
           msgs=messages, bytes=size, checksum=f"{total % 2**64:016x}", first_unix_ns=first, last_unix_ns=last, spun="0")
    if sample_interval != 0:
        with open(options["--samples"], "wb") as file:
            samples.tofile(file)


if __name__ == "__main__":
    main()
