# gem install redis && ruby enqueue.rb
require "json"
require "redis"
require "time"

order = {
  order_id: "A-1006",
  items: [{ sku: "TEA-SENCHA", quantity: 2 }],
  ship_to: "221B Baker Street, London",
  enqueued_at: Time.now.utc.iso8601
}
client = Redis.new(url: ENV.fetch("REDIS_URL", "redis://127.0.0.1:6379/0"))
client.lpush("orders", JSON.generate(order))
