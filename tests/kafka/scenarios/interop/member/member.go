// SPDX-License-Identifier: MIT

// Package member is what members in Go share: the flags of Kafka's VerifiableConsumer, and the JSON lines by which it tells its life.
package member

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"sort"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Options are the flags that both clients understand; any other is refused.
type Options struct {
	Brokers        []string
	Topics         []string
	Group          string
	InstanceID     string
	Protocol       string // classic or consumer
	Assignor       string // range or cooperative-sticky
	Earliest       bool
	SessionTimeout time.Duration
	Heartbeat      time.Duration
	Verbose        bool
	leastDelay     time.Duration
	mostDelay      time.Duration
}

// Parse reads the command line; one that cannot be taken ends the program.
func Parse() Options {
	var options Options
	brokers := flag.String("bootstrap-server", "", "HOST:PORT,...")
	topics := flag.String("topic", "", "the topics to consume, comma separated")
	flag.StringVar(&options.Group, "group-id", "", "the group to join")
	flag.StringVar(&options.Protocol, "group-protocol", "classic", "classic or consumer")
	flag.StringVar(&options.InstanceID, "group-instance-id", "", "makes the member static")
	flag.StringVar(&options.Assignor, "assignment-strategy", "range", "range or cooperative-sticky")
	reset := flag.String("reset-policy", "earliest", "earliest or latest")
	session := flag.Int("session-timeout", 30000, "milliseconds; not with --group-protocol consumer")
	heartbeat := flag.Int("heartbeat-interval", 3000, "milliseconds; not with --group-protocol consumer")
	delay := flag.String("handler-delay-ms", "0:0", "MIN:MAX, how long a record takes")
	flag.BoolVar(&options.Verbose, "verbose", false, "tell each record")
	flag.Parse()

	var least, most int
	if _, err := fmt.Sscanf(*delay, "%d:%d", &least, &most); err != nil || least < 0 || least > most {
		Fail(fmt.Errorf("--handler-delay-ms %s is not MIN:MAX", *delay))
	}
	if *brokers == "" || *topics == "" || options.Group == "" || flag.NArg() != 0 {
		Fail(fmt.Errorf("--bootstrap-server, --topic and --group-id are required, and nothing but flags is taken"))
	}
	if *reset != "earliest" && *reset != "latest" {
		Fail(fmt.Errorf("--reset-policy %s is neither earliest nor latest", *reset))
	}
	options.Brokers = strings.Split(*brokers, ",")
	options.Topics = strings.Split(*topics, ",")
	options.Earliest = *reset == "earliest"
	options.SessionTimeout = time.Duration(*session) * time.Millisecond
	options.Heartbeat = time.Duration(*heartbeat) * time.Millisecond
	options.leastDelay = time.Duration(least) * time.Millisecond
	options.mostDelay = time.Duration(most) * time.Millisecond
	return options
}

// Work is what handling one record takes.
func (o Options) Work() {
	if o.mostDelay > 0 {
		time.Sleep(o.leastDelay + rand.N(o.mostDelay-o.leastDelay+1))
	}
}

// Fail says why on standard error and ends the program.
func Fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// UntilAsked is a context that ends with SIGTERM or SIGINT.
func UntilAsked() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
}

// Place is a partition of a topic.
type Place struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
}

// Next is where a group goes on in a partition.
type Next struct {
	Place
	Offset int64 `json:"offset"`
}

// Life writes the lines, from any goroutine, and remembers what is owned.
type Life struct {
	mutex sync.Mutex
	owned map[Place]bool
}

// Begin tells that the configuration is accepted.
func Begin() *Life {
	life := &Life{owned: map[Place]bool{}}
	life.tell("startup_complete", nil)
	return life
}

// End tells that the member has left its group.
func (l *Life) End() { l.tell("shutdown_complete", nil) }

// Own tells what of these is owned from now on and was not before.
func (l *Life) Own(places ...Place) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	var added []Place
	for _, place := range places {
		if !l.owned[place] {
			l.owned[place] = true
			added = append(added, place)
		}
	}
	l.tellPlaces("partitions_assigned", added)
}

// Disown tells what of these is owned no longer.
func (l *Life) Disown(places ...Place) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.disown(places)
}

// DisownAll does so with everything.
func (l *Life) DisownAll() {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	var all []Place
	for place := range l.owned {
		all = append(all, place)
	}
	sort.Slice(all, func(i, j int) bool {
		return all[i].Topic < all[j].Topic || all[i].Topic == all[j].Topic && all[i].Partition < all[j].Partition
	})
	l.disown(all)
}

func (l *Life) disown(places []Place) {
	var removed []Place
	for _, place := range places {
		if l.owned[place] {
			delete(l.owned, place)
			removed = append(removed, place)
		}
	}
	l.tellPlaces("partitions_revoked", removed)
}

// Handled tells a record, before it counts as consumed.
func (l *Life) Handled(place Place, offset int64, key, value []byte) {
	l.tell("record_data", map[string]any{"topic": place.Topic, "partition": place.Partition, "offset": offset,
		"key": text(key), "value": text(value)})
}

// Consumed tells records of a partition in the order of their delivery, before they may be committed.
func (l *Life) Consumed(place Place, count int, first, last int64) {
	part := map[string]any{"topic": place.Topic, "partition": place.Partition, "count": count, "minOffset": first, "maxOffset": last}
	l.tell("records_consumed", map[string]any{"count": count, "partitions": []any{part}})
}

// Committed tells what became of a commit.
func (l *Life) Committed(offsets []Next, err error) {
	var words any
	if err != nil {
		words = err.Error()
	}
	l.tell("offsets_committed", map[string]any{"offsets": offsets, "success": err == nil, "error": words})
}

func (l *Life) tellPlaces(name string, places []Place) {
	if len(places) != 0 {
		l.write(name, map[string]any{"partitions": places})
	}
}

func (l *Life) tell(name string, what map[string]any) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.write(name, what)
}

func (l *Life) write(name string, what map[string]any) {
	line := map[string]any{"timestamp": time.Now().UnixMilli(), "name": name}
	for key, value := range what {
		line[key] = value
	}
	if err := json.NewEncoder(os.Stdout).Encode(line); err != nil {
		Fail(err)
	}
}

// Null is not empty.
func text(bytes []byte) any {
	if bytes == nil {
		return nil
	}
	return string(bytes)
}
