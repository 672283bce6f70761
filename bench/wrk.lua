-- Sends a request for each key of a file in turn, and prints what came of it as JSON.
local requests, at = {}, 0

function init(arguments)
  for key in io.lines(arguments[1]) do
    requests[#requests + 1] = wrk.format("GET", nil, { Host = wrk.headers["Host"], ["X-API-Key"] = key })
  end
end

function request()
  at = at % #requests + 1
  return requests[at]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format('{"answers":%d,"seconds":%.6f,"p50_ms":%.3f,"p99_ms":%.3f,"refusals":%d,"failures":%d}',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
