BEGIN TRANSACTION;
CREATE TABLE attempt (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, tx_hash TEXT NOT NULL UNIQUE,
    intent_id TEXT NOT NULL REFERENCES intent (intent_id), nonce INTEGER NOT NULL, raw BLOB NOT NULL, body TEXT NOT NULL
) STRICT;
INSERT INTO "attempt" VALUES(1,'0xa0','swap-1',5,X'0102','{"intent_id": "swap-1", "purpose": "execute", "nonce": 5, "tx_hash": "0xa0", "gas_limit": 21000, "max_fee": 1000000000, "priority_fee": 100000000, "signed_block": 100}');
INSERT INTO "attempt" VALUES(2,'0xa1','swap-10',6,X'0102','{"intent_id": "swap-10", "purpose": "execute", "nonce": 6, "tx_hash": "0xa1", "gas_limit": 21000, "max_fee": 1000000000, "priority_fee": 100000000, "signed_block": 100}');
INSERT INTO "attempt" VALUES(3,'0xa2','swap_1',7,X'0102','{"intent_id": "swap_1", "purpose": "execute", "nonce": 7, "tx_hash": "0xa2", "gas_limit": 21000, "max_fee": 1000000000, "priority_fee": 100000000, "signed_block": 100}');
CREATE TABLE history (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, account TEXT NOT NULL, what TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;
INSERT INTO "history" VALUES(1,'2026-11-30T00:10:19.200730+00:00','1:0xabababababababababababababababababababab','planned','swap-1');
INSERT INTO "history" VALUES(2,'2026-11-30T00:10:19.204541+00:00','1:0xabababababababababababababababababababab','signed to execute','swap-1 0xa0');
INSERT INTO "history" VALUES(3,'2026-11-30T00:10:19.208504+00:00','1:0xabababababababababababababababababababab','confirmed','swap-1 0xa0');
INSERT INTO "history" VALUES(4,'2026-11-30T00:10:19.212262+00:00','1:0xabababababababababababababababababababab','planned','swap-10');
INSERT INTO "history" VALUES(5,'2026-11-30T00:10:19.216329+00:00','1:0xabababababababababababababababababababab','signed to execute','swap-10 0xa1');
INSERT INTO "history" VALUES(6,'2026-11-30T00:10:19.220301+00:00','1:0xabababababababababababababababababababab','confirmed','swap-10 0xa1');
INSERT INTO "history" VALUES(7,'2026-11-30T00:10:19.224313+00:00','1:0xabababababababababababababababababababab','reopened','swap-10 reorg; it was {"status": "confirmed", "tx_hash": "0xa1", "block_hash": "0xcc"}');
INSERT INTO "history" VALUES(8,'2026-11-30T00:10:19.228293+00:00','1:0xabababababababababababababababababababab','confirmed','swap-10 0xa1');
INSERT INTO "history" VALUES(9,'2026-11-30T00:10:19.232130+00:00','1:0xabababababababababababababababababababab','planned','swap_1');
INSERT INTO "history" VALUES(10,'2026-11-30T00:10:19.236254+00:00','1:0xabababababababababababababababababababab','signed to execute','swap_1 0xa2');
INSERT INTO "history" VALUES(11,'2026-11-30T00:10:19.244290+00:00','1:0xabababababababababababababababababababab','confirmed','swap_1 0xa2');
INSERT INTO "history" VALUES(12,'2026-11-30T00:10:19.248136+00:00','1:0xabababababababababababababababababababab','reopened','swap_1 reorg; it was {"status": "confirmed", "tx_hash": "0xa2", "block_hash": "0xcc"}');
CREATE TABLE intent (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, intent_id TEXT NOT NULL UNIQUE, account TEXT NOT NULL,
    body TEXT NOT NULL, outcome TEXT, outcome_block INTEGER
) STRICT;
INSERT INTO "intent" VALUES(1,'swap-1','1:0xabababababababababababababababababababab','{"intent_id": "swap-1", "account": {"chain_id": 1, "address": "0xabababababababababababababababababababab"}, "to": "0xcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd", "data": "0x00", "value": 1606938044258990275541962092341162602522202993782792835301376, "gas_limit": 0, "expires_at": 99, "function": "f(uint256)", "arguments": {"amount": 57896044618658097711785492504343953926634992332820282019728792003956564819968, "path": ["0x1", "0x2"]}}','{"intent_id": "swap-1", "status": "confirmed", "reason": "", "tx_hash": "0xa0", "block_number": 101, "block_hash": "0xcc", "gas_used": 20000, "effective_gas_price": 1000000000, "logs": [{"address": "0xefefefefefefefefefefefefefefefefefefefef", "topics": ["0x1", "0x2"], "data": "0x3", "log_index": 4}]}',101);
INSERT INTO "intent" VALUES(2,'swap-10','1:0xabababababababababababababababababababab','{"intent_id": "swap-10", "account": {"chain_id": 1, "address": "0xabababababababababababababababababababab"}, "to": "0xcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd", "data": "0x00", "value": 1606938044258990275541962092341162602522202993782792835301376, "gas_limit": 0, "expires_at": 99, "function": "f(uint256)", "arguments": {"amount": 57896044618658097711785492504343953926634992332820282019728792003956564819968, "path": ["0x1", "0x2"]}}','{"intent_id": "swap-10", "status": "confirmed", "reason": "", "tx_hash": "0xa1", "block_number": 101, "block_hash": "0xcc", "gas_used": 20000, "effective_gas_price": 1000000000, "logs": [{"address": "0xefefefefefefefefefefefefefefefefefefefef", "topics": ["0x1", "0x2"], "data": "0x3", "log_index": 4}]}',101);
INSERT INTO "intent" VALUES(3,'swap_1','1:0xabababababababababababababababababababab','{"intent_id": "swap_1", "account": {"chain_id": 1, "address": "0xabababababababababababababababababababab"}, "to": "0xcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd", "data": "0x00", "value": 1606938044258990275541962092341162602522202993782792835301376, "gas_limit": 0, "expires_at": 99, "function": "f(uint256)", "arguments": {"amount": 57896044618658097711785492504343953926634992332820282019728792003956564819968, "path": ["0x1", "0x2"]}}',NULL,NULL);
CREATE TABLE wallet (
    account TEXT PRIMARY KEY, nonce_floor INTEGER NOT NULL, fence INTEGER NOT NULL, halt_reason TEXT NOT NULL
) STRICT;
INSERT INTO "wallet" VALUES('1:0xabababababababababababababababababababab',8,1,'');
CREATE INDEX intent_unfinished ON intent (account, sequence) WHERE outcome IS NULL;
CREATE INDEX intent_finished ON intent (account, outcome_block) WHERE outcome IS NOT NULL;
CREATE INDEX attempt_intent ON attempt (intent_id, sequence);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('intent',3);
INSERT INTO "sqlite_sequence" VALUES('history',12);
INSERT INTO "sqlite_sequence" VALUES('attempt',3);
COMMIT;
PRAGMA user_version = 1;
