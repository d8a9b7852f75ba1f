package conformance

import (
	"context"
	"reflect"
	"strconv"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

func TestPropertiesComeBack(t *testing.T) {
	channel := openChannel(t)
	queue := declareQueue(t, channel, nil)
	sent := amqp.Publishing{
		Headers:         amqp.Table{"a": "b"},
		ContentType:     "text/plain",
		ContentEncoding: "utf-8",
		DeliveryMode:    amqp.Persistent,
		Priority:        4,
		CorrelationId:   "c",
		ReplyTo:         "r",
		Expiration:      "60000",
		MessageId:       "m",
		Timestamp:       time.Unix(1_700_000_000, 0),
		Type:            "t",
		UserId:          "guest",
		AppId:           "app",
		Body:            []byte("m"),
	}
	publish(t, channel, "", queue, sent)
	got := getOne(t, channel, queue, true)
	received := amqp.Publishing{
		Headers: got.Headers, ContentType: got.ContentType, ContentEncoding: got.ContentEncoding,
		DeliveryMode: got.DeliveryMode, Priority: got.Priority, CorrelationId: got.CorrelationId, ReplyTo: got.ReplyTo,
		Expiration: got.Expiration, MessageId: got.MessageId, Timestamp: got.Timestamp, Type: got.Type,
		UserId: got.UserId, AppId: got.AppId, Body: got.Body,
	}
	if !reflect.DeepEqual(sent, received) {
		t.Fatalf("sent %+v\ngot %+v", sent, received)
	}
}

func TestTrap07HeaderTypesOfGo(t *testing.T) {
	channel := openChannel(t)
	queue := declareQueue(t, channel, nil)
	headers := amqp.Table{
		"bool": true, "byte": byte(200), "int8": int8(-5), "int16": int16(-300), "int32": int32(-70_000),
		"int64": int64(1) << 40, "float32": float32(0.5), "float64": 616.47, "string": "GOOG", "bytes": []byte{0, 255},
		"time": time.Unix(1_700_000_000, 0), "decimal": amqp.Decimal{Scale: 2, Value: 61647}, "nil": nil,
		"table": amqp.Table{"deep": int32(1)}, "array": []any{int32(1), "two"},
	}
	publish(t, channel, "", queue, amqp.Publishing{Headers: headers})
	got := getOne(t, channel, queue, true).Headers
	for name, value := range headers {
		if !reflect.DeepEqual(got[name], value) {
			t.Errorf("%s: sent %T %v, got %T %v", name, value, value, got[name], got[name])
		}
	}
}

func TestBodiesOfAnySize(t *testing.T) {
	channel := openChannel(t)
	queue := declareQueue(t, channel, nil)
	for _, size := range []int{0, 1, 131_064, 131_065, 2_000_000} {
		body := make([]byte, size)
		for i := range body {
			body[i] = byte(i % 251)
		}
		publish(t, channel, "", queue, amqp.Publishing{Body: body})
		if got := getOne(t, channel, queue, true).Body; string(got) != string(body) {
			t.Fatalf("%d octets came back as %d", size, len(got))
		}
	}
}

func TestGetFromAnEmptyQueue(t *testing.T) {
	channel := openChannel(t)
	_, found, err := channel.Get(declareQueue(t, channel, nil), true)
	must(t, err)
	if found {
		t.Fatal("found something")
	}
}

func TestConsumerGetsMessagesInOrder(t *testing.T) {
	channel := openChannel(t)
	queue := declareQueue(t, channel, nil)
	deliveries := consume(t, channel, queue, true, nil)
	for number := range 1000 {
		send(t, channel, queue, strconv.Itoa(number))
	}
	for number := range 1000 {
		if body := string(receive(t, "a delivery", deliveries).Body); body != strconv.Itoa(number) {
			t.Fatalf("got %s, expected %d", body, number)
		}
	}
}

func TestPrefetchHoldsBack(t *testing.T) {
	channel := openChannel(t)
	queue := declareQueue(t, channel, nil)
	send(t, channel, queue, "1", "2", "3")
	must(t, channel.Qos(2, 0, false))
	deliveries := consume(t, channel, queue, false, nil)
	first := receive(t, "the first", deliveries)
	receive(t, "the second", deliveries)
	waitDepth(t, channel, queue, 1)
	must(t, first.Ack(false))
	if third := receive(t, "the third", deliveries); string(third.Body) != "3" {
		t.Fatal(string(third.Body))
	}
}

func TestRequeueKeepsThePlace(t *testing.T) {
	channel := openChannel(t)
	queue := declareQueue(t, channel, nil)
	send(t, channel, queue, "1", "2")
	must(t, getOne(t, channel, queue, false).Nack(false, true))
	again := getOne(t, channel, queue, true)
	if string(again.Body) != "1" || !again.Redelivered {
		t.Fatal(string(again.Body), again.Redelivered)
	}
	expectBodies(t, channel, queue, "2")
}

func TestRecoverRequeues(t *testing.T) {
	channel := openChannel(t)
	queue := declareQueue(t, channel, nil)
	send(t, channel, queue, "m")
	getOne(t, channel, queue, false)
	must(t, channel.Recover(true))
	if !getOne(t, channel, queue, true).Redelivered {
		t.Fatal("not redelivered")
	}
}

func TestUnknownDeliveryTag(t *testing.T) {
	channel := openChannel(t)
	closed := closing(channel)
	must(t, channel.Ack(42, false))
	expectRefusal(t, receive(t, "channel.close", closed), 406, "unknown delivery tag 42")
}

func TestCancelEndsTheConsumer(t *testing.T) {
	channel := openChannel(t)
	queue := declareQueue(t, channel, nil)
	deliveries, err := channel.Consume(queue, "mine", true, false, false, false, nil)
	must(t, err)
	must(t, channel.Cancel("mine", false))
	if _, open := <-deliveries; open {
		t.Fatal("a delivery after cancel-ok")
	}
	send(t, channel, queue, "stays")
	waitDepth(t, channel, queue, 1)
}

func TestBrokerCancelsWhenTheQueueGoes(t *testing.T) {
	channel := openChannel(t)
	queue := declareQueue(t, channel, nil)
	cancelled := channel.NotifyCancel(make(chan string, 1))
	_, err := channel.Consume(queue, "mine", true, false, false, false, nil)
	must(t, err)
	_, err = channel.QueueDelete(queue, false, false, false)
	must(t, err)
	if tag := receive(t, "basic.cancel", cancelled); tag != "mine" {
		t.Fatal(tag)
	}
}

func TestExclusiveConsumer(t *testing.T) {
	connection := connect(t)
	channel := channelOf(t, connection)
	queue := declareQueue(t, channel, nil)
	_, err := channel.Consume(queue, "", true, true, false, false, nil)
	must(t, err)
	_, err = channelOf(t, connection).Consume(queue, "", true, false, false, false, nil)
	expectRefusal(t, err, 403, "in exclusive use")
}

func TestConsumerPriority(t *testing.T) {
	channel := openChannel(t)
	queue := declareQueue(t, channel, nil)
	low := consume(t, channel, queue, true, amqp.Table{"x-priority": int32(1)})
	high := consume(t, channel, queue, true, amqp.Table{"x-priority": int32(9)})
	send(t, channel, queue, "1", "2", "3")
	for range 3 {
		receive(t, "a delivery to the favourite", high)
	}
	if len(low) != 0 {
		t.Fatal("the other got something")
	}
}

func TestSingleActiveConsumer(t *testing.T) {
	channel := openChannel(t)
	queue := declareQueue(t, channel, amqp.Table{amqp.SingleActiveConsumerArg: true})
	first, err := channel.Consume(queue, "first", true, false, false, false, nil)
	must(t, err)
	second := consume(t, channel, queue, true, nil)
	send(t, channel, queue, "1", "2")
	receive(t, "1", first)
	receive(t, "2", first)
	must(t, channel.Cancel("first", false))
	send(t, channel, queue, "3")
	if body := string(receive(t, "3", second).Body); body != "3" {
		t.Fatal(body)
	}
}

func TestConfirms(t *testing.T) {
	channel := openChannel(t)
	queue := declareQueue(t, channel, nil)
	must(t, channel.Confirm(false))
	confirmations := channel.NotifyPublish(make(chan amqp.Confirmation, 500))
	for range 500 {
		send(t, channel, queue, "m")
	}
	for number := range 500 {
		confirmation := receive(t, "a confirm", confirmations)
		if !confirmation.Ack || confirmation.DeliveryTag != uint64(number+1) {
			t.Fatalf("%+v at %d", confirmation, number)
		}
	}
	if count := depth(t, channel, queue); count != 500 {
		t.Fatal(count)
	}
}

func TestDeferredConfirmOfARejectedPublish(t *testing.T) {
	channel := openChannel(t)
	queue := declareQueue(t, channel, amqp.Table{"x-max-length": int32(1), "x-overflow": "reject-publish"})
	must(t, channel.Confirm(false))
	for _, expected := range []bool{true, false} {
		confirmation, err := channel.PublishWithDeferredConfirm("", queue, false, false, amqp.Publishing{})
		must(t, err)
		ctx, cancel := context.WithTimeout(context.Background(), deadline)
		acked, err := confirmation.WaitContext(ctx)
		cancel()
		must(t, err)
		if acked != expected {
			t.Fatalf("acked %v, expected %v", acked, expected)
		}
	}
}

func TestReturnComesBeforeTheConfirm(t *testing.T) {
	channel := openChannel(t)
	must(t, channel.Confirm(false))
	returns := channel.NotifyReturn(make(chan amqp.Return, 1))
	confirmations := channel.NotifyPublish(make(chan amqp.Confirmation, 1))
	must(t, channel.PublishWithContext(context.Background(), "amq.direct", unique("nobody"), true, false, amqp.Publishing{Body: []byte("m")}))
	if confirmation := receive(t, "the confirm", confirmations); !confirmation.Ack {
		t.Fatal("nacked")
	}
	select {
	case returned := <-returns:
		if returned.ReplyCode != 312 || returned.ReplyText != "NO_ROUTE" || string(returned.Body) != "m" {
			t.Fatalf("%+v", returned)
		}
	default:
		t.Fatal("the confirm came before the return")
	}
}

func TestTransaction(t *testing.T) {
	connection := connect(t)
	channel, other := channelOf(t, connection), channelOf(t, connection)
	queue := declareQueue(t, channel, nil)
	must(t, channel.Tx())
	send(t, channel, queue, "rolled back")
	must(t, channel.TxRollback())
	send(t, channel, queue, "committed")
	if count := depth(t, channel, queue); count != 0 {
		t.Fatal("seen before the commit")
	}
	must(t, channel.TxCommit())
	expectBodies(t, other, queue, "committed")
}

func TestDeadLettering(t *testing.T) {
	channel := openChannel(t)
	target := declareQueue(t, channel, nil)
	source := declareQueue(t, channel, amqp.Table{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": target})
	send(t, channel, source, "m")
	must(t, getOne(t, channel, source, false).Reject(false))
	deaths, ok := getOne(t, channel, target, true).Headers["x-death"].([]any)
	if !ok || len(deaths) != 1 {
		t.Fatalf("x-death is %v", deaths)
	}
	death := deaths[0].(amqp.Table)
	if death["count"] != int64(1) || death["reason"] != "rejected" || death["queue"] != source {
		t.Fatalf("%v", death)
	}
	if _, isTime := death["time"].(time.Time); !isTime {
		t.Fatalf("time is %T", death["time"])
	}
}

func TestMessageTTL(t *testing.T) {
	channel := openChannel(t)
	queue := declareQueue(t, channel, nil)
	must(t, channel.Confirm(false))
	for _, message := range []amqp.Publishing{{Expiration: "30", Body: []byte("short")}, {Expiration: "600000", Body: []byte("long")}} {
		confirmation, err := channel.PublishWithDeferredConfirm("", queue, false, false, message)
		must(t, err)
		confirmation.Wait()
	}
	waitDepth(t, channel, queue, 1)
	expectBodies(t, channel, queue, "long")
}

func TestMaxLengthAndPriority(t *testing.T) {
	channel := openChannel(t)
	queue := declareQueue(t, channel, amqp.Table{"x-max-priority": int32(5)})
	for _, priority := range []uint8{1, 5, 3} {
		publish(t, channel, "", queue, amqp.Publishing{Priority: priority, Body: []byte{'0' + priority}})
	}
	waitDepth(t, channel, queue, 3)
	expectBodies(t, channel, queue, "5", "3", "1")
}

func TestHeadersExchange(t *testing.T) {
	channel := openChannel(t)
	exchange, queue := declareExchange(t, channel, "headers", nil), declareQueue(t, channel, nil)
	must(t, channel.QueueBind(queue, "", exchange, false, amqp.Table{"x-match": "all", "a": int64(1), "b": "x"}))
	publish(t, channel, exchange, "", amqp.Publishing{Headers: amqp.Table{"a": int16(1)}, Body: []byte("no")})
	publish(t, channel, exchange, "", amqp.Publishing{Headers: amqp.Table{"a": int16(1), "b": "x"}, Body: []byte("yes")})
	expectBodies(t, channel, queue, "yes")
}

func TestDirectReplyTo(t *testing.T) {
	connection := connect(t)
	client, server := channelOf(t, connection), channelOf(t, connection)
	requests := declareQueue(t, server, nil)
	replies := consume(t, client, "amq.rabbitmq.reply-to", true, nil)
	publish(t, client, "", requests, amqp.Publishing{ReplyTo: "amq.rabbitmq.reply-to", Body: []byte("question")})
	request := getOne(t, server, requests, true)
	publish(t, server, "", request.ReplyTo, amqp.Publishing{Body: []byte("answer")})
	if reply := receive(t, "the reply", replies); string(reply.Body) != "answer" {
		t.Fatal(string(reply.Body))
	}
}

func TestCarbonCopies(t *testing.T) {
	channel := openChannel(t)
	to, cc, bcc := declareQueue(t, channel, nil), declareQueue(t, channel, nil), declareQueue(t, channel, nil)
	headers := amqp.Table{"CC": []any{cc}, "BCC": []any{bcc}}
	publish(t, channel, "", to, amqp.Publishing{Headers: headers, Body: []byte("m")})
	for _, queue := range []string{to, cc, bcc} {
		if got := getOne(t, channel, queue, true); got.Headers["BCC"] != nil || got.RoutingKey != to {
			t.Fatalf("%+v", got)
		}
	}
}

func TestPublishToAMissingExchange(t *testing.T) {
	channel := openChannel(t)
	closed, missing := closing(channel), unique("missing")
	publish(t, channel, missing, "k", amqp.Publishing{})
	expectRefusal(t, receive(t, "channel.close", closed), 404, "no exchange '"+missing+"' in vhost '/'")
}

func TestManyConnectionsAtOnce(t *testing.T) {
	channels := make([]*amqp.Channel, 50)
	for i := range channels {
		channels[i] = openChannel(t)
	}
	queue := declareQueue(t, channels[0], nil)
	for _, channel := range channels {
		send(t, channel, queue, "m")
	}
	waitDepth(t, channels[0], queue, len(channels))
}
