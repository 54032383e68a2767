// SPDX-License-Identifier: MIT

// franz-go: PollFetches, MarkCommitRecords, auto-commit of marks each second.
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
	tally := arm.NewTally(options, 1)
	client, err := kgo.NewClient(
		kgo.SeedBrokers(options.BrokerList()...),
		kgo.ConsumerGroup(options.Group),
		kgo.ConsumeTopics(options.Topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.Balancers(kgo.RangeBalancer()),
		kgo.AutoCommitMarks(),
		kgo.AutoCommitInterval(time.Second),
		kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, assigned map[string][]int32) {
			arm.PrintAssigned(len(assigned[options.Topic]))
		}),
		kgo.OnPartitionsRevoked(func(ctx context.Context, client *kgo.Client, _ map[string][]int32) {
			if err := client.CommitMarkedOffsets(ctx); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}),
	)
	if err != nil {
		fail(err)
	}

	ctx, cancel := arm.Context()
	go arm.Watch(ctx, cancel, options, func() int64 { return atomic.LoadInt64(&tally.Published) })
	for ctx.Err() == nil {
		fetches := client.PollFetches(ctx)
		fetches.EachError(func(topic string, partition int32, err error) {
			if ctx.Err() == nil {
				fmt.Fprintln(os.Stderr, topic, partition, err)
			}
		})
		fetches.EachPartition(func(partition kgo.FetchTopicPartition) {
			for _, record := range partition.Records {
				tally.Take(record.Value, record.Partition, record.Offset)
			}
			client.MarkCommitRecords(partition.Records...)
		})
		atomic.StoreInt64(&tally.Published, tally.Messages)
		if options.Messages > 0 && tally.Messages >= options.Messages {
			cancel()
		}
		client.AllowRebalance()
	}
	if err := client.CommitMarkedOffsets(context.Background()); err != nil {
		fail(err)
	}
	client.CloseAllowingRebalance()

	info, _ := debug.ReadBuildInfo()
	arm.PrintResult(arm.Version(info, "github.com/twmb/franz-go"), []*arm.Tally{tally})
	arm.WriteSamples(options, []*arm.Tally{tally})
}
