// SPDX-License-Identifier: MIT

// Package arm is what both Go arms do around their client: the command line, taking records, printing the result.
package arm

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	stampInterval   = 256
	publishInterval = 32
)

type Options struct {
	Brokers        string
	Topic          string
	Group          string
	Samples        string
	Messages       int64 // 0: until SIGTERM
	Partitions     int
	Spin           int64
	SampleInterval int64
	Size           int // of a value that is produced; 0: the arm consumes
}

func Parse() Options {
	var options Options
	flag.StringVar(&options.Brokers, "brokers", "", "addresses, comma separated")
	flag.StringVar(&options.Topic, "topic", "", "")
	flag.StringVar(&options.Group, "group", "", "")
	flag.StringVar(&options.Samples, "samples", "", "file for a sample a record")
	flag.Int64Var(&options.SampleInterval, "sample-interval", 1, "a sample each so many records")
	flag.Int64Var(&options.Messages, "messages", 0, "records to read; 0: until SIGTERM")
	flag.IntVar(&options.Partitions, "partitions", 0, "of the topic")
	flag.Int64Var(&options.Spin, "spin", 0, "rounds of work a record")
	flag.IntVar(&options.Size, "size", 0, "of a value, for arms that produce")
	flag.Parse()
	if options.Brokers == "" || options.Topic == "" || options.Partitions <= 0 || (options.Group == "" && options.Size < 16) {
		fmt.Fprintln(os.Stderr, "needed: --brokers --topic --partitions, and --group or --size")
		os.Exit(2)
	}
	return options
}

func (o Options) BrokerList() []string { return strings.Split(o.Brokers, ",") }

type sample struct {
	received int64
	intended int64
	place    int64 // partition << 40 | offset
}

// Tally is what one claim, or the whole member, has read. Only its owner writes it; Published may be loaded by others.
type Tally struct {
	Messages       int64
	Published      int64
	bytes          int64
	checksum       uint64
	first          int64
	last           int64
	finish         int64
	spin           int64
	spun           uint64
	sampleInterval int64
	samples        []sample
	_              [64]byte // no two claims share a cache line
}

// NewTally makes the tally of one claim; `claims` of them share the work evenly.
func NewTally(options Options, claims int64) *Tally {
	tally := &Tally{finish: options.Messages / claims, spin: options.Spin}
	if options.Samples != "" {
		tally.sampleInterval = options.SampleInterval
		tally.samples = make([]sample, 0, max(tally.finish/tally.sampleInterval, 1<<16))
	}
	return tally
}

// checksum is the sum of the value's little-endian 64-bit words, the last one padded with zeros.
func checksum(value []byte) uint64 {
	var sum uint64
	for len(value) >= 8 {
		sum += binary.LittleEndian.Uint64(value)
		value = value[8:]
	}
	var tail uint64
	for index, octet := range value {
		tail |= uint64(octet) << (8 * index)
	}
	return sum + tail
}

func spin(state uint64, rounds int64) uint64 {
	for state |= 1; rounds > 0; rounds-- {
		state ^= state << 13
		state ^= state >> 7
		state ^= state << 17
	}
	return state
}

func (t *Tally) Take(value []byte, partition int32, offset int64) {
	if t.Messages == 0 {
		t.first = time.Now().UnixNano()
	}
	t.checksum += checksum(value)
	t.bytes += int64(len(value))
	t.Messages++
	if t.Messages%stampInterval == 0 || t.Messages == t.finish {
		t.last = time.Now().UnixNano()
	}
	if t.Messages%publishInterval == 0 || t.Messages == t.finish {
		atomic.StoreInt64(&t.Published, t.Messages)
	}
	if t.sampleInterval != 0 && t.Messages%t.sampleInterval == 0 {
		intended := int64(binary.LittleEndian.Uint64(value))
		t.samples = append(t.samples, sample{time.Now().UnixNano(), intended, int64(partition)<<40 | offset})
	}
	if t.spin != 0 {
		t.spun += spin(uint64(offset), t.spin)
	}
}

// Values makes the values of an arm that produces, each in memory of its own: clients in Go keep it until it is acknowledged.
type Values struct{ text []byte }

func NewValues(options Options) Values {
	text := make([]byte, options.Size)
	for index := range text {
		text[index] = byte('a' + index%23)
	}
	return Values{text}
}

// Make is as little as tells records apart.
func (v Values) Make(number int64) []byte {
	value := bytes.Clone(v.text)
	binary.LittleEndian.PutUint64(value[8:], uint64(number))
	return value
}

// PrintProduced prints the result of an arm that produces.
func PrintProduced(client string, options Options, acknowledged, first, last int64) {
	PrintResult(client, []*Tally{{Messages: acknowledged, bytes: acknowledged * int64(options.Size), first: first, last: last}})
}

// Context ends at SIGTERM.
func Context() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), syscall.SIGTERM)
}

// Watch reports progress each second and cancels when all messages were read.
func Watch(ctx context.Context, cancel context.CancelFunc, options Options, total func() int64) {
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	reported := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			messages := total()
			if now.Sub(reported) >= time.Second {
				reported = now
				print(map[string]any{"event": "progress", "msgs": messages})
			}
			if options.Messages > 0 && messages >= options.Messages {
				cancel()
			}
		}
	}
}

var printing sync.Mutex

func print(line map[string]any) {
	text, err := json.Marshal(line)
	if err != nil {
		panic(err)
	}
	printing.Lock()
	defer printing.Unlock()
	fmt.Println(string(text))
}

func PrintAssigned(partitions int) {
	print(map[string]any{"event": "assigned", "partitions": partitions, "unix_ns": time.Now().UnixNano()})
}

// Version is the module's name and version as linked into this program.
func Version(info *debug.BuildInfo, path string) string {
	for _, module := range info.Deps {
		if module.Path == path {
			return fmt.Sprintf("%s %s, %s", path[strings.LastIndex(path, "/")+1:], module.Version, info.GoVersion)
		}
	}
	return path
}

func PrintResult(client string, tallies []*Tally) {
	var total Tally
	for _, tally := range tallies {
		if tally.Messages == 0 {
			continue
		}
		total.Messages += tally.Messages
		total.bytes += tally.bytes
		total.checksum += tally.checksum
		total.spun += tally.spun
		if total.first == 0 || tally.first < total.first {
			total.first = tally.first
		}
		total.last = max(total.last, tally.last)
	}
	print(map[string]any{
		"event": "result", "client": client, "msgs": total.Messages, "bytes": total.bytes,
		"checksum": fmt.Sprintf("%016x", total.checksum), "first_unix_ns": total.first, "last_unix_ns": total.last,
		"spun": fmt.Sprintf("%x", total.spun),
	})
}

func WriteSamples(options Options, tallies []*Tally) {
	if options.Samples == "" {
		return
	}
	var bytes []byte
	for _, tally := range tallies {
		for _, sample := range tally.samples {
			bytes = binary.LittleEndian.AppendUint64(bytes, uint64(sample.received))
			bytes = binary.LittleEndian.AppendUint64(bytes, uint64(sample.intended))
			bytes = binary.LittleEndian.AppendUint64(bytes, uint64(sample.place))
		}
	}
	if err := os.WriteFile(options.Samples, bytes, 0o644); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
