# Enqueues orders in Sidekiq: `bulk`, `singly` or `paced` as in programs/produce.py.
require "json"
require_relative "sidekiq_worker"

MANY = Integer(ENV.fetch("BENCH_MANY"))

def order(number) = JSON.parse(ENV.fetch("BENCH_ORDER").sub("%08d", number.to_s.rjust(8, "0")))

def bulk
  (0...MANY).each_slice(1000) do |numbers|
    Sidekiq::Client.push_bulk("class" => Fulfil, "args" => numbers.map { |n| [order(n)] })
  end
end

def singly
  MANY.times do |number|
    sleep rand(0.1..0.2)
    placed = Marks.now
    Fulfil.perform_async(order(number))
    started(number + 1)
    puts placed
  end
end

def paced
  $stdin.each_line { |line| Fulfil.perform_async(order(line.to_i)) }
end

def started(many)
  ends = Marks.now + 30_000_000_000
  while File.read(Marks::PATH).count("\n") < many
    abort "order #{many} was not started within 30 s" if Marks.now > ends
    sleep 0.002
  end
end

{ "bulk" => method(:bulk), "singly" => method(:singly), "paced" => method(:paced) }.fetch(ARGV[0]).call
