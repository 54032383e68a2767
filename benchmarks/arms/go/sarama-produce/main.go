// SPDX-License-Identifier: MIT

// sarama's AsyncProducer, idempotent and acknowledged by all: which it allows with one request at a time only.
package main

import (
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"github.com/IBM/sarama"

	"kgroup.benchmarks/arm"
)

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func main() {
	options := arm.Parse()
	config := sarama.NewConfig()
	config.Version = sarama.MaxVersion
	config.Net.MaxOpenRequests = 1
	config.Producer.Idempotent = true
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Producer.Return.Successes = true
	producer, err := sarama.NewAsyncProducer(options.BrokerList(), config)
	if err != nil {
		fail(err)
	}
	values := arm.NewValues(options)
	arm.PrintAssigned(options.Partitions)

	go func() {
		for failure := range producer.Errors() {
			fail(failure)
		}
	}()
	var acknowledged int64
	done := make(chan struct{})
	go func() {
		for range producer.Successes() {
			if acknowledged++; acknowledged == options.Messages {
				close(done)
			}
		}
	}()
	first := time.Now().UnixNano()
	for number := int64(0); number < options.Messages; number++ {
		producer.Input() <- &sarama.ProducerMessage{
			Topic:     options.Topic,
			Partition: int32(number % int64(options.Partitions)),
			Value:     sarama.ByteEncoder(values.Make(number)),
		}
	}
	<-done
	last := time.Now().UnixNano()
	if err := producer.Close(); err != nil {
		fail(err)
	}

	info, _ := debug.ReadBuildInfo()
	arm.PrintProduced(arm.Version(info, "github.com/IBM/sarama"), options, acknowledged, first, last)
}
