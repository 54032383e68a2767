// SPDX-License-Identifier: MIT

// sarama's ConsumerGroup with a handler: the interface kgroup is modelled on. A goroutine a claim, MarkMessage, auto-commit each second.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"

	"kgroup.benchmarks/arm"
)

type handler struct {
	options arm.Options
	mutex   sync.Mutex
	tallies []*arm.Tally
}

func (h *handler) Setup(session sarama.ConsumerGroupSession) error {
	arm.PrintAssigned(len(session.Claims()[h.options.Topic]))
	return nil
}

func (h *handler) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (h *handler) newTally() *arm.Tally {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	tally := arm.NewTally(h.options, int64(h.options.Partitions))
	h.tallies = append(h.tallies, tally)
	return tally
}

func (h *handler) total() int64 {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	var total int64
	for _, tally := range h.tallies {
		total += atomic.LoadInt64(&tally.Published)
	}
	return total
}

func (h *handler) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	tally := h.newTally()
	defer func() { atomic.StoreInt64(&tally.Published, tally.Messages) }()
	for {
		select {
		case message, open := <-claim.Messages():
			if !open {
				return nil
			}
			tally.Take(message.Value, message.Partition, message.Offset)
			session.MarkMessage(message, "")
		case <-session.Context().Done():
			return nil
		}
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func main() {
	options := arm.Parse()
	config := sarama.NewConfig()
	config.Version = sarama.MaxVersion
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Interval = time.Second
	group, err := sarama.NewConsumerGroup(options.BrokerList(), options.Group, config)
	if err != nil {
		fail(err)
	}

	handler := &handler{options: options}
	ctx, cancel := arm.Context()
	go arm.Watch(ctx, cancel, options, handler.total)
	for ctx.Err() == nil {
		if err := group.Consume(ctx, []string{options.Topic}, handler); err != nil && !errors.Is(err, context.Canceled) {
			fail(err)
		}
	}
	if err := group.Close(); err != nil {
		fail(err)
	}

	info, _ := debug.ReadBuildInfo()
	arm.PrintResult(arm.Version(info, "github.com/IBM/sarama"), handler.tallies)
	arm.WriteSamples(options, handler.tallies)
}
