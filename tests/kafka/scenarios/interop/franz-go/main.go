// SPDX-License-Identifier: MIT

// A member of a group with franz-go: polls that hold up rebalances until their records are handled and committed.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kgroup.interop/member"
)

// How much a poll takes, and how long it may wait while a commit has to be repeated.
const (
	pollSize = 200
	pollTime = 200 * time.Millisecond
)

type consumer struct {
	options member.Options
	life    *member.Life
	mutex   sync.Mutex
	handled map[member.Place]kgo.EpochOffset // and not committed
}

// One poll: its partitions are handled side by side.
func (c *consumer) handle(fetches kgo.Fetches) {
	var partitions sync.WaitGroup
	fetches.EachPartition(func(partition kgo.FetchTopicPartition) {
		if len(partition.Records) != 0 {
			partitions.Add(1)
			go func() {
				defer partitions.Done()
				c.handleRecords(partition.Records)
			}()
		}
	})
	partitions.Wait()
}

func (c *consumer) handleRecords(records []*kgo.Record) {
	last := records[len(records)-1]
	place := member.Place{Topic: last.Topic, Partition: last.Partition}
	for _, record := range records {
		c.options.Work()
		if c.options.Verbose {
			c.life.Handled(place, record.Offset, record.Key, record.Value)
		}
	}
	c.life.Consumed(place, len(records), records[0].Offset, last.Offset)
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.handled[place] = kgo.EpochOffset{Epoch: last.LeaderEpoch, Offset: last.Offset + 1}
}

// Commits what is handled, of all partitions or of these; what the broker refuses stays for the next time.
func (c *consumer) commit(ctx context.Context, client *kgo.Client, chosen func(member.Place) bool) {
	offsets := map[string]map[int32]kgo.EpochOffset{}
	c.mutex.Lock()
	for place, next := range c.handled {
		if chosen(place) {
			if offsets[place.Topic] == nil {
				offsets[place.Topic] = map[int32]kgo.EpochOffset{}
			}
			offsets[place.Topic][place.Partition] = next
		}
	}
	c.mutex.Unlock()
	if len(offsets) != 0 {
		client.CommitOffsetsSync(ctx, offsets, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, answer *kmsg.OffsetCommitResponse, err error) {
			c.tellCommit(offsets, answer, err)
		})
	}
}

func (c *consumer) tellCommit(offsets map[string]map[int32]kgo.EpochOffset, answer *kmsg.OffsetCommitResponse, err error) {
	if err != nil {
		var all []member.Next
		for topic, partitions := range offsets {
			for partition, next := range partitions {
				all = append(all, member.Next{Place: member.Place{Topic: topic, Partition: partition}, Offset: next.Offset})
			}
		}
		c.life.Committed(all, err)
		return
	}
	var done []member.Next
	for _, topic := range answer.Topics {
		for _, partition := range topic.Partitions {
			place := member.Place{Topic: topic.Topic, Partition: partition.Partition}
			next := member.Next{Place: place, Offset: offsets[topic.Topic][partition.Partition].Offset}
			if refusal := kerr.ErrorForCode(partition.ErrorCode); refusal != nil {
				c.life.Committed([]member.Next{next}, refusal)
				continue
			}
			done = append(done, next)
			c.forget(place)
		}
	}
	if len(done) != 0 {
		c.life.Committed(done, nil)
	}
}

func (c *consumer) forget(place member.Place) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	delete(c.handled, place)
}

func (c *consumer) uncommitted() bool {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return len(c.handled) != 0
}

func places(of map[string][]int32) []member.Place {
	var all []member.Place
	for topic, partitions := range of {
		for _, partition := range partitions {
			all = append(all, member.Place{Topic: topic, Partition: partition})
		}
	}
	return all
}

func (c *consumer) assigned(_ context.Context, _ *kgo.Client, added map[string][]int32) {
	c.life.Own(places(added)...)
}

func (c *consumer) revoked(ctx context.Context, client *kgo.Client, removed map[string][]int32) {
	gone := map[member.Place]bool{}
	for _, place := range places(removed) {
		gone[place] = true
	}
	c.commit(ctx, client, func(place member.Place) bool { return gone[place] })
	c.lost(ctx, client, removed)
}

func (c *consumer) lost(_ context.Context, _ *kgo.Client, removed map[string][]int32) {
	for _, place := range places(removed) {
		c.forget(place)
	}
	c.life.Disown(places(removed)...)
}

func configuration(options member.Options, consumer *consumer) ([]kgo.Opt, error) {
	reset := kgo.NewOffset().AtEnd()
	if options.Earliest {
		reset = kgo.NewOffset().AtStart()
	}
	settings := []kgo.Opt{
		kgo.ClientID("franz-go"),
		kgo.SeedBrokers(options.Brokers...),
		kgo.ConsumerGroup(options.Group),
		kgo.ConsumeTopics(options.Topics...),
		kgo.ConsumeResetOffset(reset),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsAssigned(consumer.assigned),
		kgo.OnPartitionsRevoked(consumer.revoked),
		kgo.OnPartitionsLost(consumer.lost),
	}
	if options.InstanceID != "" {
		settings = append(settings, kgo.InstanceID(options.InstanceID))
	}
	switch options.Protocol {
	case "consumer":
		return append(settings, kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer())), nil
	case "classic":
		settings = append(settings, kgo.SessionTimeout(options.SessionTimeout), kgo.HeartbeatInterval(options.Heartbeat))
	default:
		return nil, fmt.Errorf("--group-protocol %s is not known", options.Protocol)
	}
	switch options.Assignor {
	case "range":
		return append(settings, kgo.Balancers(kgo.RangeBalancer())), nil
	case "cooperative-sticky":
		return append(settings, kgo.Balancers(kgo.CooperativeStickyBalancer())), nil
	default:
		return nil, fmt.Errorf("--assignment-strategy %s is not known", options.Assignor)
	}
}

// What is there; when something handled is not committed, after a while nothing.
func (c *consumer) poll(ctx context.Context, client *kgo.Client) kgo.Fetches {
	if c.uncommitted() {
		limited, cancel := context.WithTimeout(ctx, pollTime)
		defer cancel()
		ctx = limited
	}
	return client.PollRecords(ctx, pollSize)
}

func main() {
	options := member.Parse()
	consumer := &consumer{options: options, handled: map[member.Place]kgo.EpochOffset{}}
	settings, err := configuration(options, consumer)
	if err == nil {
		err = kgo.ValidateOpts(settings...)
	}
	if err != nil {
		member.Fail(err)
	}
	consumer.life = member.Begin()
	client, err := kgo.NewClient(settings...)
	if err != nil {
		member.Fail(err)
	}

	ctx, stop := member.UntilAsked()
	defer stop()
	everything := func(member.Place) bool { return true }
	for ctx.Err() == nil {
		fetches := consumer.poll(ctx, client)
		fetches.EachError(func(topic string, partition int32, err error) {
			if !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
				fmt.Fprintln(os.Stderr, topic, partition, err)
			}
		})
		consumer.handle(fetches)
		consumer.commit(context.Background(), client, everything)
		client.AllowRebalance()
	}
	client.CloseAllowingRebalance()
	consumer.life.End()
}
