-- wrk -s post.lua URL -- BYTES [KEYED]: POST a body of that size, with a new Idempotency-Key each time if KEYED is
-- given; at the end one line of JSON, latencies in ms.
function init(args)
  if args[2] then
    local made, head = 0, "k" .. os.time() .. math.random(1e9) .. "-"
    request = function()
      made = made + 1
      wrk.headers["Idempotency-Key"] = head .. made
      return wrk.format()
    end
  end
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "text/plain; charset=utf-8"
  wrk.body = string.rep("x", tonumber(args[1]))
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "seconds": %.6f, "p50": %.4f, "p99": %.4f, "failed": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
