// SPDX-License-Identifier: MIT

// franz-go: Produce with a promise for each record, Flush at the end. Idempotent and acknowledged by all by default.
package main

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"kgroup.benchmarks/arm"
)

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func main() {
	options := arm.Parse()
	client, err := kgo.NewClient(
		kgo.SeedBrokers(options.BrokerList()...),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
	)
	if err != nil {
		fail(err)
	}
	values := arm.NewValues(options)
	var acknowledged atomic.Int64
	promise := func(_ *kgo.Record, err error) {
		if err != nil {
			fail(err)
		}
		acknowledged.Add(1)
	}
	arm.PrintAssigned(options.Partitions)

	ctx := context.Background()
	first := time.Now().UnixNano()
	for number := int64(0); number < options.Messages; number++ {
		client.Produce(ctx, &kgo.Record{
			Topic:     options.Topic,
			Partition: int32(number % int64(options.Partitions)),
			Value:     values.Make(number),
		}, promise)
	}
	if err := client.Flush(ctx); err != nil {
		fail(err)
	}
	last := time.Now().UnixNano()
	client.Close()

	info, _ := debug.ReadBuildInfo()
	arm.PrintProduced(arm.Version(info, "github.com/twmb/franz-go"), options, acknowledged.Load(), first, last)
}
