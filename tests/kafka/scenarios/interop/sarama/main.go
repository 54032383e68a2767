// SPDX-License-Identifier: MIT

// A member of a group with sarama, as sarama's documentation writes one: a handler, marks, commits in the background. Sarama does not say
// what became of a commit, so commits are not told.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/IBM/sarama"

	"kgroup.interop/member"
)

// Records count as consumed, and are marked, some at a time: when there are so many, or the first of them has waited so long.
const (
	roundSize = 100
	roundTime = 100 * time.Millisecond
)

type handler struct {
	options member.Options
	life    *member.Life
}

func (h *handler) Setup(session sarama.ConsumerGroupSession) error {
	var places []member.Place
	for topic, partitions := range session.Claims() {
		for _, partition := range partitions {
			places = append(places, member.Place{Topic: topic, Partition: partition})
		}
	}
	h.life.Own(places...)
	return nil
}

func (h *handler) Cleanup(sarama.ConsumerGroupSession) error {
	h.life.DisownAll()
	return nil
}

// A round is the records of a claim that are handled and not marked yet.
type round struct {
	count       int
	first, last *sarama.ConsumerMessage
}

func (h *handler) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	place := member.Place{Topic: claim.Topic(), Partition: claim.Partition()}
	h.life.Own(place) // with the cooperative protocol it may be new
	var open round
	finish := func() {
		if open.count != 0 {
			h.life.Consumed(place, open.count, open.first.Offset, open.last.Offset)
			session.MarkMessage(open.last, "")
			open = round{}
		}
	}
	h.consume(session.Context(), claim, &open, finish)
	finish()
	if session.Context().Err() == nil { // else all that it owns goes at once
		h.life.Disown(place)
	}
	return nil
}

func (h *handler) consume(session context.Context, claim sarama.ConsumerGroupClaim, open *round, finish func()) {
	ticks := time.NewTicker(roundTime)
	defer ticks.Stop()
	for {
		select {
		case <-session.Done():
			return
		case <-ticks.C:
			finish()
		case record, more := <-claim.Messages():
			if !more || session.Err() != nil {
				return
			}
			h.options.Work()
			if h.options.Verbose {
				h.life.Handled(member.Place{Topic: record.Topic, Partition: record.Partition}, record.Offset, record.Key, record.Value)
			}
			if open.count == 0 {
				open.first = record
			}
			open.last = record
			open.count++
			if open.count == roundSize {
				finish()
			}
		}
	}
}

func configuration(options member.Options) (*sarama.Config, error) {
	config := sarama.NewConfig()
	config.Version = sarama.MaxVersion
	config.ClientID = "sarama"
	config.Consumer.Return.Errors = true
	config.Consumer.Group.Session.Timeout = options.SessionTimeout
	config.Consumer.Group.Heartbeat.Interval = options.Heartbeat
	config.Consumer.Group.InstanceId = options.InstanceID
	config.Consumer.Offsets.Initial = sarama.OffsetNewest
	if options.Earliest {
		config.Consumer.Offsets.Initial = sarama.OffsetOldest
	}
	if options.Protocol != "classic" {
		return nil, fmt.Errorf("sarama speaks the classic protocol only, not %s", options.Protocol)
	}
	switch options.Assignor {
	case "range":
		config.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{sarama.NewBalanceStrategyRange()}
	case "cooperative-sticky":
		config.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{sarama.NewBalanceStrategyCooperativeSticky()}
	default:
		return nil, fmt.Errorf("--assignment-strategy %s is not known", options.Assignor)
	}
	return config, nil
}

func main() {
	options := member.Parse()
	config, err := configuration(options)
	if err != nil {
		member.Fail(err)
	}
	group, err := sarama.NewConsumerGroup(options.Brokers, options.Group, config)
	if err != nil {
		member.Fail(err)
	}
	life := member.Begin()
	go func() {
		for err := range group.Errors() {
			fmt.Fprintln(os.Stderr, err)
		}
	}()

	ctx, stop := member.UntilAsked()
	defer stop()
	for ctx.Err() == nil {
		err := group.Consume(ctx, options.Topics, &handler{options, life})
		if err != nil && !errors.Is(err, context.Canceled) {
			fmt.Fprintln(os.Stderr, err)
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
	if err := group.Close(); err != nil {
		member.Fail(err)
	}
	life.End()
}
