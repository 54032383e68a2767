// SPDX-License-Identifier: MIT

// Writes records of all shapes to partition 0 of a topic with franz-go: writer BROKERS TOPIC CODEC. Prints how many.
package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

var codecs = map[string]kgo.CompressionCodec{
	"none":   kgo.NoCompression(),
	"gzip":   kgo.GzipCompression(),
	"snappy": kgo.SnappyCompression(),
	"lz4":    kgo.Lz4Compression(),
	"zstd":   kgo.ZstdCompression(),
}

// Bytes that compress well, and others.
func text(random *rand.Rand, size int) []byte {
	made := []byte(strings.Repeat("x", size))
	step := 1 + 60*random.IntN(2)
	for i := 0; i < size; i += step {
		made[i] = byte(random.Uint32())
	}
	return made
}

func shapes(random *rand.Rand) []*kgo.Record {
	var made []*kgo.Record
	begin := time.Now()
	for range 20 {
		for _, key := range [][]byte{nil, {}, text(random, 11)} {
			for _, value := range [][]byte{nil, {}, text(random, 1), text(random, 100), text(random, random.IntN(5000))} {
				record := &kgo.Record{Key: key, Value: value, Timestamp: begin.Add(time.Duration(random.IntN(1000)) * time.Millisecond)}
				for range random.IntN(4) {
					record.Headers = append(record.Headers, kgo.RecordHeader{Key: strings.Repeat("name", random.IntN(3)), Value: text(random, random.IntN(20))})
				}
				made = append(made, record)
			}
		}
	}
	many := &kgo.Record{Key: []byte("many headers"), Timestamp: begin, Headers: []kgo.RecordHeader{{Key: "null"}, {Key: "empty", Value: []byte{}}}}
	for i := range 1000 {
		many.Headers = append(many.Headers, kgo.RecordHeader{Key: fmt.Sprint("header ", i), Value: text(random, 10)})
	}
	made = append(made, many)
	for size := 900_000; size > 50_000; size /= 3 {
		made = append(made, &kgo.Record{Value: text(random, size), Timestamp: begin})
	}
	return made
}

func write(brokers, topic, codec string) (int, error) {
	chosen, known := codecs[codec]
	if !known {
		return 0, fmt.Errorf("codec %s is not known", codec)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(brokers, ",")...), kgo.DefaultProduceTopic(topic),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(chosen), kgo.ProducerLinger(20*time.Millisecond))
	if err != nil {
		return 0, err
	}
	defer client.Close()
	records := shapes(rand.New(rand.NewPCG(4711, 0)))
	return len(records), client.ProduceSync(context.Background(), records...).FirstErr()
}

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "writer BROKERS TOPIC CODEC")
		os.Exit(2)
	}
	count, err := write(os.Args[1], os.Args[2], os.Args[3])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(count)
}
