// go mod init enqueue && go get github.com/redis/go-redis/v9 && go run enqueue.go
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"log"
	"os"
	"time"

	"github.com/redis/go-redis/v9"
)

func main() {
	order, err := json.Marshal(map[string]any{
		"order_id":    "A-1005",
		"items":       []map[string]any{{"sku": "TEA-SENCHA", "quantity": 2}},
		"ship_to":     "221B Baker Street, London",
		"enqueued_at": time.Now().UTC().Format(time.RFC3339),
	})
	if err != nil {
		log.Fatal(err)
	}
	options, err := redis.ParseURL(cmp.Or(os.Getenv("REDIS_URL"), "redis://127.0.0.1:6379/0"))
	if err != nil {
		log.Fatal(err)
	}
	client := redis.NewClient(options)
	defer client.Close()
	if err := client.LPush(context.Background(), "orders", order).Err(); err != nil {
		log.Fatal(err)
	}
}
