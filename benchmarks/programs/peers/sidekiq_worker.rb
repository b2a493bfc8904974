# A Sidekiq job: what `sidekiq --require` loads, and what the producer names.
require "sidekiq"

url = "redis://127.0.0.1:#{ENV.fetch("BENCH_REDIS_PORT")}/0"
Sidekiq.configure_server { |config| config.redis = { url: url } }
Sidekiq.configure_client { |config| config.redis = { url: url } }
Sidekiq.logger.level = Logger::WARN # no line for each job

# As programs/marks.py.
module Marks
  EVERY = Integer(ENV.fetch("BENCH_EVERY"))
  PATH = ENV.fetch("BENCH_MARKS")
  FILE = File.open(PATH, "a", 0o600).tap { |file| file.sync = true }
  LOCK = Mutex.new
  MANY = Integer(ENV.fetch("BENCH_MANY"))
  @number = 0

  def self.mark
    LOCK.synchronize do
      @number += 1
      FILE.write("#{@number} #{now}\n") if (@number % EVERY).zero?
    end
  end

  def self.arrive(order_id)
    LOCK.synchronize do
      @arrived ||= []
      @arrived << "#{order_id[2..].to_i} #{now}\n"
      FILE.write(@arrived.join) if [1, MANY].include?(@arrived.size)
    end
  end

  def self.now = Process.clock_gettime(Process::CLOCK_MONOTONIC, :nanosecond)

  def self.first_to_get_here?
    File.open("#{PATH}.first", File::CREAT | File::EXCL | File::WRONLY).close
    true
  rescue Errno::EEXIST
    false
  end
end

class Fulfil
  include Sidekiq::Worker
  KIND = ENV.fetch("BENCH_KIND")

  def perform(order)
    KIND.start_with?("arrived") ? Marks.arrive(order["order_id"]) : Marks.mark
    sleep 0.01 if KIND.end_with?("wait")
    sleep 3600 if KIND == "stick" && Marks.first_to_get_here?
  end
end
