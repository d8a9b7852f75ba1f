// Package conformance holds AMQP 0-9-1 cases on amqp091-go. The broker is at AMQP_URL.
package conformance

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const deadline = 15 * time.Second

func brokerURL() string {
	if url := os.Getenv("AMQP_URL"); url != "" {
		return url
	}
	return "amqp://guest:guest@127.0.0.1:5672/%2f"
}

// connect opens a connection that ends with the test.
func connect(t *testing.T) *amqp.Connection {
	t.Helper()
	connection, err := amqp.Dial(brokerURL())
	must(t, err)
	t.Cleanup(func() { _ = connection.Close() })
	return connection
}

// openChannel opens a channel on a connection of its own.
func openChannel(t *testing.T) *amqp.Channel {
	t.Helper()
	return channelOf(t, connect(t))
}

func channelOf(t *testing.T, connection *amqp.Connection) *amqp.Channel {
	t.Helper()
	channel, err := connection.Channel()
	must(t, err)
	return channel
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// unique makes a name that no other test uses.
func unique(kind string) string {
	random := make([]byte, 6)
	_, _ = rand.Read(random)
	return "conformance." + kind + "." + hex.EncodeToString(random)
}

// declareQueue declares an exclusive queue, which goes with its connection.
func declareQueue(t *testing.T, channel *amqp.Channel, arguments amqp.Table) string {
	t.Helper()
	queue, err := channel.QueueDeclare(unique("queue"), false, false, true, false, arguments)
	must(t, err)
	return queue.Name
}

// declareExchange declares a transient exchange, deleted when the test ends.
func declareExchange(t *testing.T, channel *amqp.Channel, kind string, arguments amqp.Table) string {
	t.Helper()
	exchange := unique("exchange")
	must(t, channel.ExchangeDeclare(exchange, kind, false, false, false, false, arguments))
	t.Cleanup(func() {
		cleaner, err := amqp.Dial(brokerURL())
		must(t, err)
		must(t, channelOf(t, cleaner).ExchangeDelete(exchange, false, false))
		must(t, cleaner.Close())
	})
	return exchange
}

func publish(t *testing.T, channel *amqp.Channel, exchange, key string, message amqp.Publishing) {
	t.Helper()
	must(t, channel.PublishWithContext(context.Background(), exchange, key, false, false, message))
}

func send(t *testing.T, channel *amqp.Channel, queue string, bodies ...string) {
	t.Helper()
	for _, body := range bodies {
		publish(t, channel, "", queue, amqp.Publishing{Body: []byte(body)})
	}
}

// until polls a condition and fails the test at the deadline.
func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(deadline); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s did not come true", what)
		}
	}
}

// receive takes the next value of a Go channel, or fails at the deadline.
func receive[T any](t *testing.T, what string, values <-chan T) T {
	t.Helper()
	select {
	case value, open := <-values:
		if !open {
			t.Fatalf("%s: closed", what)
		}
		return value
	case <-time.After(deadline):
		t.Fatalf("%s did not come", what)
	}
	panic("unreachable")
}

// getOne polls basic.get until a message is there.
func getOne(t *testing.T, channel *amqp.Channel, queue string, autoAck bool) amqp.Delivery {
	t.Helper()
	var delivery amqp.Delivery
	until(t, "a message in "+queue, func() bool {
		message, found, err := channel.Get(queue, autoAck)
		must(t, err)
		delivery = message
		return found
	})
	return delivery
}

func expectBodies(t *testing.T, channel *amqp.Channel, queue string, expected ...string) {
	t.Helper()
	got := make([]string, 0, len(expected))
	for range expected {
		got = append(got, string(getOne(t, channel, queue, true).Body))
	}
	if !slices.Equal(got, expected) {
		t.Fatalf("got %q, expected %q", got, expected)
	}
}

func depth(t *testing.T, channel *amqp.Channel, queue string) int {
	t.Helper()
	state, err := channel.QueueDeclarePassive(queue, false, false, false, false, nil)
	must(t, err)
	return state.Messages
}

func waitDepth(t *testing.T, channel *amqp.Channel, queue string, count int) {
	t.Helper()
	until(t, "the depth of "+queue, func() bool { return depth(t, channel, queue) == count })
}

func consume(t *testing.T, channel *amqp.Channel, queue string, autoAck bool, arguments amqp.Table) <-chan amqp.Delivery {
	t.Helper()
	deliveries, err := channel.Consume(queue, "", autoAck, false, false, false, arguments)
	must(t, err)
	return deliveries
}

// expectRefusal asserts the reply code, and a text that contains `text`.
func expectRefusal(t *testing.T, err error, code int, text string) {
	t.Helper()
	var refusal *amqp.Error
	if !errors.As(err, &refusal) {
		t.Fatalf("expected a refusal with %d, got %v", code, err)
	}
	if refusal.Code != code || !strings.Contains(refusal.Reason, text) {
		t.Fatalf("expected %d %q, got %d %q", code, text, refusal.Code, refusal.Reason)
	}
}

// closing returns where the channel's close by the broker will be told.
func closing(channel *amqp.Channel) <-chan *amqp.Error {
	return channel.NotifyClose(make(chan *amqp.Error, 1))
}
